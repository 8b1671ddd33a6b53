"""One pass over the validation images after each round: the ensemble's scores, and how wrong each image is.

Its results are kept in the run's folder, so that a report that is made again asks only for rounds that are new.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dmtc.engine.context import RunContext
from dmtc.evaluation import Predictor, averaged, confusion_counts, ensemble, scores_of
from dmtc.files import write_json
from dmtc.report.runs.reading import Stage
from dmtc.types import IGNORE_INDEX, UInt8Array


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
    several = bool(stages) and len(stages[0].phases) > 1
    wanted = list(stages) if several else [*stages[:1], *stages[1:][-1:]]
    protocol = context.parts.config["evaluation"]
    known = _read(kept, protocol)
    scores = {stage.key: known.get(stage.key) or _score(context, stage) for stage in wanted}
    if scores.keys() - known.keys():
        content = {"evaluation": protocol, "stages": {key: asdict(value) for key, value in scores.items()}}
        write_json(kept, content)
    return scores


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
    evaluation, dataset = context.parts.evaluation, context.parts.dataset
    predictors = [evaluation.of_frames(predictor) for predictor in _predictors(context, stage)]
    counts = torch.zeros(dataset.num_classes, dataset.num_classes, dtype=torch.int64)
    wrong: dict[str, float] = {}
    for batch in context.loader.images(dataset.val, context.parts.run.label_batch, with_mask=True):
        context.interruption.check("while making the report")
        image, truth = evaluation.protocol.frame(batch)
        predicted = averaged(predictor(image) for predictor in predictors).argmax(dim=1)
        counts += confusion_counts(predicted, truth, dataset.num_classes).cpu()
        known = truth != IGNORE_INDEX
        faults = ((predicted != truth) & known).flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)
        wrong |= dict(zip(batch.ids, faults.tolist(), strict=True))
    scores = scores_of(counts, evaluation.absent)
    return StageScores(scores.miou, list(scores.iou), wrong)


def _read(kept: Path, protocol: dict[str, Any]) -> dict[str, StageScores]:
    try:
        content = json.loads(kept.read_text(encoding="utf-8"))
        if content["evaluation"] != protocol:
            return {}
        return {key: StageScores(**value) for key, value in content["stages"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
