"""One pass over the validation images per round: the ensemble's scores, and each image's share of wrong pixels.

Results are cached next to the report, so that an updated report computes only new rounds. The cache key covers the
weights, the networks, the protocol and the validation images, so results of another run, or of a run that was trained
again in the same folder, are never reused.
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
from dmtc.evaluation.predictors import most_probable
from dmtc.models.weights.files import sha256_of
from dmtc.report.runs.run_data import Stage
from dmtc.run.changes import settings_that_count
from dmtc.run.folder import RunFolder


@dataclass(frozen=True)
class StageScores:
    """The scores of a stage's networks with their probabilities averaged.

    Attributes:
        miou: mIoU in [0, 1] under the run's protocol.
        iou: IoU of each class; None for an absent class.
        wrong: Share in [0, 1] of each image's labelled pixels that is wrong, by id; 0 if it has none.
    """

    miou: float
    iou: list[float | None]
    wrong: dict[str, float]


def score_stages(context: RunContext, stages: Sequence[Stage], kept: Path) -> dict[str, StageScores]:
    """Score the stages shown: all if there are several networks, otherwise the first and the last.

    Args:
        context: The run's context.
        stages: The finished stages.
        kept: The cache file; written if any result is new.

    Returns:
        Scores by `Stage.key`.

    Raises:
        DataError: A validation image cannot be read, or weights are missing.
    """
    shown, scored = _shown(stages), scored_images(context.components.dataset)
    origins = {stage.key: _origin(context.components, context.folder, stage, scored) for stage in shown}
    known = _read(kept)
    scores = {stage.key: known.get(origins[stage.key]) or _score(context, stage) for stage in shown}
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
    """The cached results of an earlier report, for use if the validation images can no longer be read.

    Args:
        components: The run's components.
        folder: The run's folder.
        stages: The finished stages.
        kept: The cache file.
    """
    scored, known = folder.read_data().scored_sha256, _read(kept)
    origins = {stage.key: _origin(components, folder, stage, scored) for stage in _shown(stages)}
    return {key: known[origin] for key, origin in origins.items() if origin in known}


def scored_images(dataset: Dataset) -> str:
    """The fingerprint of the current validation data."""
    return record_data(dataset, ()).scored_sha256


def _shown(stages: Sequence[Stage]) -> list[Stage]:
    several = bool(stages) and len(stages[0].phases) > 1
    return list(stages) if several else [*stages[:1], *stages[1:][-1:]]


def _origin(components: Components, folder: RunFolder, stage: Stage, scored: str) -> str:
    """The fingerprint of everything that determines the scores of a stage."""
    weights = {}
    for network, phase in stage.phases.items():
        path = folder.weights_path(phase)
        weights[network] = sha256_of(path) if path.is_file() else None  # reported when loading fails
    networks = {key: value for key, value in components.config.items() if key.startswith("model") or key == "dataset"}
    content = [settings_that_count(networks), components.config["evaluation"], weights, scored]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def predict(context: RunContext, stage: Stage, ids: Sequence[str]) -> dict[str, UInt8Array]:
    """The ensemble's predictions for whole validation images, uint8 (H, W) by id."""
    together = ensemble(_predictors(context, stage))
    masks = {}
    for batch in context.loader.images(ids, 1, with_mask=False):
        masks[batch.ids[0]] = most_probable(together(batch.image))[0].to(torch.uint8).cpu().numpy()
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
        predicted = most_probable(averaged(predictor(image) for predictor in predictors))
        counts += confusion_counts(predicted, truth, dataset.num_classes).cpu()
        known = truth != IGNORE_INDEX
        faults = ((predicted != truth) & known).flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)
        wrong |= dict(zip(batch.ids, faults.tolist(), strict=True))
    scores = scores_of(counts, evaluation.absent)
    return StageScores(scores.miou, list(scores.iou), wrong)


def _read(kept: Path) -> dict[str, StageScores]:
    """Cached results by fingerprint; empty if the file is damaged."""
    try:
        stages = json.loads(read_regular(kept))["stages"].values()
        return {str(value.pop("of")): StageScores(**value) for value in stages}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
