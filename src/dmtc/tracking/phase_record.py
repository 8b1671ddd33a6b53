"""Record of a finished phase, as kept in phase.json and reported in results.json."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dmtc.evaluation.quality import PseudoLabelScores


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRecord:
    """Record of a finished phase. IoU, accuracies and shares are in [0, 1].

    Attributes:
        name: For example "r1-a".
        trainee: Letter of the trained network.
        round: Number of earlier phases of the network.
        label_from: Phase whose network made the pseudo-labels; None without any.
        teacher: Who labelled within the step; None: nobody.
        label_ratio: Share of every class that was kept; None if there is none.
        steps: Optimizer steps.
        pseudo: Scores of its pseudo-labels; None without any.
        label_images_per_s: How fast its teacher labelled; None without pseudo-labels.
        miou_last: mIoU of the last weights.
        miou_best: mIoU of the best weights: the highest of all evaluations, unless `run.monitor` is another metric.
        miou_of: mIoU of the last weights ("student") and of their average ("average"), if an average is kept.
        iou_last: IoU of each class with the last weights; None for an absent class.
        metrics_last: Further metrics of the last weights, by name.
        evaluations: One entry per evaluation, with `step`, `miou`, `iou` and every further metric.
        seconds: Time of training and scoring, plus labelling if the phase is the first to learn from its teacher.
        cpu_seconds: The same in time of the processors, of all processes but those of the loader.
        train_images_per_s: Training speed.
        peak_memory_bytes: Peak memory of the process that needed most.
        skipped: How often each unusable image was skipped.
        dropped_steps: Steps whose loss or gradient was not finite.
        weights: SHA-256 of the weight files, by name.
        made_from: Fingerprints of what it was made from; see `dmtc.run.origin`.
        warnings: One line each.
    """

    name: str
    trainee: str
    round: int
    label_from: str | None
    teacher: str | None
    label_ratio: float | None
    steps: int
    pseudo: PseudoLabelScores | None
    label_images_per_s: float | None
    miou_last: float
    miou_best: float
    miou_of: dict[str, float]
    iou_last: list[float | None]
    metrics_last: dict[str, float]
    evaluations: list[dict[str, Any]]
    seconds: float
    cpu_seconds: float
    train_images_per_s: float
    peak_memory_bytes: int
    skipped: dict[str, int]
    dropped_steps: list[int]
    weights: dict[str, str]
    made_from: dict[str, Any]
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        """The record as a plain dictionary."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "PhaseRecord":
        """Rebuild a record from `to_json`.

        Raises:
            TypeError: A field is missing or unknown.
        """
        pseudo = content.get("pseudo")
        return cls(**{**content, "pseudo": None if pseudo is None else PseudoLabelScores(**pseudo)})
