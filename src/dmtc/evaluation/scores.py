"""Scores: confusion counts on the device, and intersection over union computed from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX
from dmtc.evaluation.metrics import Absent, MetricValue, Options, iou, metric_values


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores from a confusion matrix.

    Attributes:
        miou: Mean IoU in [0, 1]. NaN if no pixel is labelled, or if a class is absent and the rule for absent classes
            is "undefined".
        iou: IoU in [0, 1] of each class; None for an absent class, whatever the rule.
        metrics: Further metrics, by name.
        confusion: Pixels by truth (rows) and prediction; empty if unknown.
    """

    miou: float
    iou: tuple[float | None, ...]
    metrics: Mapping[str, MetricValue] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()

    @property
    def overall(self) -> dict[str, float]:
        """The further metrics as one number each."""
        return {name: value.overall for name, value in self.metrics.items()}


def confusion_counts(prediction: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Count pixels by truth and prediction.

    Args:
        prediction: Integer, any shape, below C.
        truth: Integer of the same shape, below C or `IGNORE_INDEX` (not counted).
        num_classes: C.

    Returns:
        int64 (C, C) on the device of the inputs; rows are the truth.

    Raises:
        ValueError: The truth has a class that is not below C.

    Examples:
        >>> confusion_counts(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 255]), num_classes=2)
        tensor([[1, 1],
                [0, 0]])
    """
    # Bytes first, as reading and writing wider integers takes most of the time.
    truth, prediction = truth.to(torch.uint8), prediction.to(torch.uint8)
    pair = truth.to(torch.int32).mul_(num_classes).add_(prediction)
    counts = torch.bincount(pair.flatten(), minlength=(IGNORE_INDEX + 1) * num_classes).view(-1, num_classes)
    if counts[num_classes:IGNORE_INDEX].any():
        raise ValueError(f"the truth has classes from {num_classes} on")
    return counts[:num_classes]


def scores_of(
    counts: Tensor,
    absent: Absent,
    metrics: Sequence[str] = (),
    options: Options | None = None,
    classes: Sequence[str] | None = None,
    of_images: Mapping[str, MetricValue] | None = None,
) -> Scores:
    """IoU and further metrics from confusion counts.

    Args:
        counts: int64 (C, C), rows are the truth.
        absent: How a class in neither truth nor prediction affects the mean. "left_out": the mean is over the other
            classes (ST++). "undefined": the mean is NaN (the code of DMT, DMTC and ReCo). "zero": it counts as 0
            (UniMatch, CorrMatch, U2PL).
        metrics: Names of further metrics, see `METRICS`.
        options: Options of metrics, by name.
        classes: The names of the classes, for metrics that ask for them; by default their numbers.
        of_images: The values of those metrics that see every image.

    Examples:
        >>> counts = torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
        >>> scores_of(counts, absent="left_out").iou
        (0.75, 0.8, None)
        >>> scores_of(counts, absent="left_out").miou, round(scores_of(counts, absent="zero").miou, 3)
        (0.775, 0.517)
    """
    value = iou(counts.to("cpu", torch.float64), absent)
    assert value.per_class is not None
    return Scores(
        miou=value.overall,
        iou=value.per_class,
        metrics=metric_values(metrics, counts, absent, options, classes, of_images),
        confusion=tuple(tuple(int(pixels) for pixels in row) for row in counts.tolist()),
    )
