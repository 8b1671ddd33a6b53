"""What came of a phase, as it is kept in phase.json and reported in results.json."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dmtc.evaluation.quality import PseudoLabelScores


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRecord:
    """What came of a phase. IoU, accuracies and shares are in [0, 1].

    Attributes:
        name: For example "r1-a".
        trainee: Letter of the network that was trained.
        round: Phases of the network before it.
        label_from: Phase whose network labelled; None without pseudo-labels.
        label_ratio: Share of every class that was kept; None without pseudo-labels.
        steps: Optimizer steps.
        pseudo: Scores of its pseudo-labels; None without any.
        label_images_per_s: How fast its teacher labelled; None without pseudo-labels.
        miou_last: mIoU of the last weights.
        miou_best: The highest mIoU of all evaluations.
        iou_last: IoU of each class by the last weights; None for a class that is absent.
        metrics_last: Further metrics of the last weights, by name.
        evaluations: One entry each, with `step`, `miou`, `iou` and every further metric.
        seconds: Of training and scoring, and of labelling for the first phase that learns from a teacher.
        train_images_per_s: How fast it was trained.
        peak_memory_bytes: Of the process that needed most.
        skipped: How often each image that cannot be used was skipped.
        dropped_steps: Steps whose loss or gradient was not finite.
        weights: SHA-256 of the files of weights, by name.
        made_from: What it was made from; see `dmtc.run.origin`.
        warnings: One line each.
    """

    name: str
    trainee: str
    round: int
    label_from: str | None
    label_ratio: float | None
    steps: int
    pseudo: PseudoLabelScores | None
    label_images_per_s: float | None
    miou_last: float
    miou_best: float
    iou_last: list[float | None]
    metrics_last: dict[str, float]
    evaluations: list[dict[str, Any]]
    seconds: float
    train_images_per_s: float
    peak_memory_bytes: int
    skipped: dict[str, int]
    dropped_steps: list[int]
    weights: dict[str, str]
    made_from: dict[str, Any]
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        """As a plain dictionary."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "PhaseRecord":
        """The inverse of `to_json`.

        Raises:
            TypeError: A field is missing, or one is unknown.
        """
        pseudo = content.get("pseudo")
        return cls(**{**content, "pseudo": None if pseudo is None else PseudoLabelScores(**pseudo)})
