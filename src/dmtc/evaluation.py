"""Scores: confusion counts on the device, intersection over union from them."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dmtc.types import IGNORE_INDEX, Batch

Predictor = Callable[[Tensor], Tensor]
"""uint8 images (B, 3, H, W) -> logits (B, C, H, W), without gradient."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a confusion matrix says.

    Attributes:
        miou: Mean IoU in [0, 1] over the classes that occur in the truth or the prediction; NaN if none does.
        iou: IoU in [0, 1] of each class; None for a class in neither.
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
    """
    # Ignored pixels are counted in one more bin and cut off: no boolean mask, so the device is never waited for.
    pair = torch.where(truth == IGNORE_INDEX, num_classes**2, truth * num_classes + prediction)
    counts = torch.bincount(pair.flatten(), minlength=num_classes**2 + 1)
    return counts[:-1].view(num_classes, num_classes)


def scores_of(counts: Tensor) -> Scores:
    """IoU from confusion counts, int64 (C, C).

    Classes that are absent from both truth and prediction are left out of the mean, as most of the field does; the
    published code lets them turn the mean into NaN.
    """
    counts = counts.double().cpu()
    hits = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - hits
    iou = hits / union  # 0 / 0 is NaN: absent
    return Scores(
        miou=iou.nanmean().item(),
        iou=tuple(None if math.isnan(value) else value for value in iou.tolist()),
        accuracy=(hits.sum() / counts.sum()).item(),
    )


def ensemble(predictors: Sequence[Predictor]) -> Predictor:
    """The mean of several networks' probabilities, as logarithms; a single network is left as it is."""
    if len(predictors) == 1:
        return predictors[0]

    def predict(images: Tensor) -> Tensor:
        probabilities = [predictor(images).float().softmax(dim=1) for predictor in predictors]
        return torch.stack(probabilities).mean(dim=0).log()

    return predict


def evaluate(predict: Predictor, batches: Iterable[Batch], num_classes: int) -> Tensor:
    """Confusion counts, int64 (C, C), of a predictor over whole images at their original size."""
    counts: Tensor | None = None
    for batch in batches:
        prediction = predict(batch.image).argmax(dim=1)
        more = confusion_counts(prediction, batch.label, num_classes)
        counts = more if counts is None else counts + more
    assert counts is not None, "a data set always has validation images"
    return counts
