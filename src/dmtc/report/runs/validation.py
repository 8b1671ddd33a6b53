"""One pass over the validation images after each round: the ensemble's scores, and how wrong each image is.

Its results are kept beside the report, so that one that is made again asks only for rounds that are new. They are kept
by what they are of: the weights, the networks and the protocol, and the validation images. So those of another run, or
of one that was trained anew in its folder, are never taken for them.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from dmtc.core.files import read_regular, write_json
from dmtc.core.types import IGNORE_INDEX, UInt8Array
from dmtc.data import Dataset
from dmtc.data.record import record_data
from dmtc.engine.components import Components
from dmtc.engine.context import RunContext
from dmtc.evaluation import Predictor, averaged, confusion_counts, ensemble, scores_of
from dmtc.models.weights.files import sha256_of
from dmtc.report.runs.run_data import Stage
from dmtc.run.changes import settings_that_count
from dmtc.run.folder import RunFolder


@dataclass(frozen=True)
class StageScores:
    """How the networks of a stage do together, their probabilities averaged.

    Attributes:
        miou: In [0, 1], under the run's protocol.
        iou: Of each class; None for an absent one.
        wrong: Share of each image's labelled pixels in [0, 1] that is wrong, by id; 0 without any.
    """

    miou: float
    iou: list[float | None]
    wrong: dict[str, float]


def score_stages(context: RunContext, stages: Sequence[Stage], kept: Path) -> dict[str, StageScores]:
    """Score the stages that matter: all if there are several networks, else the first and the last.

    Args:
        context: Of the run.
        stages: Those that are done.
        kept: File with what was found before; written if anything is new.

    Returns:
        Scores by `Stage.key`.

    Raises:
        DataError: A validation image cannot be read, or weights are missing.
    """
    wanted, scored = _wanted(stages), scored_images(context.components.dataset)
    origins = {stage.key: _origin(context.components, context.folder, stage, scored) for stage in wanted}
    known = _read(kept)
    scores = {stage.key: known.get(origins[stage.key]) or _score(context, stage) for stage in wanted}
    content = {
        "evaluation": context.components.config["evaluation"],
        "stages": {key: {"of": origins[key]} | asdict(value) for key, value in scores.items()},
    }
    if list(known) != list(origins.values()):
        write_json(kept, content)
    return scores


def kept_scores(
    components: Components, folder: RunFolder, stages: Sequence[Stage], kept: Path
) -> dict[str, StageScores]:
    """What an earlier report has found, where the validation images cannot be read now.

    Args:
        components: Of the run.
        folder: Of the run.
        stages: Those that are done.
        kept: As in `score_stages`.
    """
    scored, known = folder.read_data().scored_sha256, _read(kept)
    origins = {stage.key: _origin(components, folder, stage, scored) for stage in _wanted(stages)}
    return {key: known[origin] for key, origin in origins.items() if origin in known}


def scored_images(dataset: Dataset) -> str:
    """The fingerprint of what networks are scored on, as it is now."""
    return record_data(dataset, ()).scored_sha256


def _wanted(stages: Sequence[Stage]) -> list[Stage]:
    several = bool(stages) and len(stages[0].phases) > 1
    return list(stages) if several else [*stages[:1], *stages[1:][-1:]]


def _origin(components: Components, folder: RunFolder, stage: Stage, scored: str) -> str:
    """The fingerprint of all that the scores of a stage follow from."""
    weights = {}
    for network, phase in stage.phases.items():
        path = folder.weights_path(phase)
        weights[network] = sha256_of(path) if path.is_file() else None  # told when it is loaded
    networks = {key: value for key, value in components.config.items() if key.startswith("model") or key == "dataset"}
    content = [settings_that_count(networks), components.config["evaluation"], weights, scored]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def predict(context: RunContext, stage: Stage, ids: Sequence[str]) -> dict[str, UInt8Array]:
    """The classes, uint8 (H, W), that the networks of a stage see together in whole validation images."""
    together = ensemble(_predictors(context, stage))
    masks = {}
    for batch in context.loader.images(ids, 1, with_mask=False):
        masks[batch.ids[0]] = together(batch.image).argmax(dim=1)[0].to(torch.uint8).cpu().numpy()
    return masks


def _predictors(context: RunContext, stage: Stage) -> list[Predictor]:
    return [context.networks.predictor(context.networks.after(phase)) for phase in stage.phases.values()]


def _score(context: RunContext, stage: Stage) -> StageScores:
    evaluation, dataset = context.components.evaluation, context.components.dataset
    predictors = [evaluation.of_frames(predictor) for predictor in _predictors(context, stage)]
    counts = torch.zeros(dataset.num_classes, dataset.num_classes, dtype=torch.int64)
    wrong: dict[str, float] = {}
    for batch in context.loader.images(dataset.val, context.components.run.label_batch, with_mask=True):
        context.interruption.check("while making the report")
        image, truth = evaluation.protocol.frame(batch)
        predicted = averaged(predictor(image) for predictor in predictors).argmax(dim=1)
        counts += confusion_counts(predicted, truth, dataset.num_classes).cpu()
        known = truth != IGNORE_INDEX
        faults = ((predicted != truth) & known).flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)
        wrong |= dict(zip(batch.ids, faults.tolist(), strict=True))
    scores = scores_of(counts, evaluation.absent)
    return StageScores(scores.miou, list(scores.iou), wrong)


def _read(kept: Path) -> dict[str, StageScores]:
    """What was found before, by what it is of; nothing where the file is damaged."""
    try:
        stages = json.loads(read_regular(kept))["stages"].values()
        return {str(value.pop("of")): StageScores(**value) for value in stages}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
