"""Scores: confusion counts on the device, intersection over union from them."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX

Absent = Literal["left_out", "undefined", "zero"]
"""What a class that is in neither the truth nor the prediction does to the mean; see `scores_of`."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a confusion matrix says.

    Attributes:
        miou: Mean IoU in [0, 1] under the rule for absent classes; NaN under "undefined", or if no pixel is labelled.
        iou: IoU in [0, 1] of each class; None for a class that is absent, whatever the rule.
        accuracy: Share of the labelled pixels that are right, in [0, 1].
    """

    miou: float
    iou: tuple[float | None, ...]
    accuracy: float


def confusion_counts(prediction: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Count pixels by truth and prediction.

    Args:
        prediction: Integer, any shape, below C.
        truth: Integer of the same shape, below C or `IGNORE_INDEX` (not counted).
        num_classes: C.

    Returns:
        int64 (C, C) on the device of the inputs; rows are the truth.

    Examples:
        >>> confusion_counts(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 255]), num_classes=2)
        tensor([[1, 1],
                [0, 0]])
    """
    # Ignored pixels are counted in one more bin and cut off: no boolean mask, so the device is never waited for.
    pair = torch.where(truth == IGNORE_INDEX, num_classes**2, truth * num_classes + prediction)
    counts = torch.bincount(pair.flatten(), minlength=num_classes**2 + 1)
    return counts[:-1].view(num_classes, num_classes)


def scores_of(counts: Tensor, absent: Absent) -> Scores:
    """IoU from confusion counts.

    Args:
        counts: int64 (C, C), rows are the truth.
        absent: What a class in neither truth nor prediction does to the mean. "left_out": nothing, the mean is over
            the others (ST++). "undefined": the mean is NaN (the code of DMT, DMTC and ReCo). "zero": it counts as 0
            (UniMatch, CorrMatch, U2PL).

    Examples:
        >>> counts = torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
        >>> scores_of(counts, absent="left_out").iou
        (0.75, 0.8, None)
        >>> scores_of(counts, absent="left_out").miou, round(scores_of(counts, absent="zero").miou, 3)
        (0.775, 0.517)
    """
    counts = counts.double().cpu()
    hits = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - hits
    iou = hits / union  # 0 / 0 is NaN: absent
    match absent:
        case "left_out":
            mean = iou.nanmean()
        case "undefined":
            mean = iou.mean()
        case "zero":
            mean = iou.nan_to_num(0.0).mean()
    return Scores(
        miou=mean.item(),
        iou=tuple(None if math.isnan(value) else value for value in iou.tolist()),
        accuracy=(hits.sum() / counts.sum()).item(),
    )
