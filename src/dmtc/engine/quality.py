"""How good pseudo-labels are, held against the truth where it is known. For reports alone, never for training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dmtc.data import Dataset
from dmtc.errors import DataError
from dmtc.evaluation import confusion_counts, scores_of
from dmtc.pseudo import LEVELS, PseudoLabelStore, level_confidence
from dmtc.types import IGNORE_INDEX

CALIBRATION_BINS = 15
"""Of equal width, as in Guo et al. 2017."""


def score_pseudo_labels(
    store: PseudoLabelStore, label_ratio: float, ids: Sequence[str], truth: Dataset | None
) -> dict[str, Any]:
    """What a label ratio keeps of a teacher's predictions, how right that is, and how well it knows.

    Args:
        store: A teacher's predictions for `ids`.
        label_ratio: In (0, 1].
        ids: The unlabelled images.
        truth: Where masks are looked up; None opens no mask. An image whose mask is missing or unreadable is left out
            of all that needs the truth: nothing that is only reported may stop a training.

    Returns:
        Lists are by class, everything is in [0, 1]:
        `coverage` and `realized`: share of all pixels, and of each predicted class's pixels, that is kept;
        `thresholds`: confidence from which a class is kept, 0 where all of it is, None if it is never predicted;
        `miou`, `per_class_iou` and `accuracy` of the kept pixels; `precision`, the share of a class's kept pixels that
        is right, and `recall`, the share of a class's true pixels that is kept and right; None where there is nothing
        to divide by, and all of them None without any truth;
        `calibration` of all predictions, kept or not, as by `calibration`; None without any truth;
        `scored`, the number of images with a truth.
    """
    selected = store.select(label_ratio)
    histogram = store.histogram()
    num_classes = len(histogram)
    kept = [int(row[from_level:].sum()) for row, from_level in zip(histogram, selected.thresholds, strict=True)]
    lowest = np.full(256, LEVELS, np.int64)
    lowest[:num_classes] = selected.thresholds
    counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    true_pixels = np.zeros(num_classes, np.int64)
    by_level = np.zeros((LEVELS, 2), np.int64)
    scored = 0
    for id in ids if truth is not None else ():
        if truth is None or id not in truth.masks or id not in store:  # not in the store: skipped as unreadable
            continue
        try:
            mask = truth.mask(id)
        except DataError:
            continue
        label, level = store.read(id)
        if label.shape != mask.shape:
            continue
        known = mask != IGNORE_INDEX
        right = (label == mask)[known]
        by_level += np.bincount(level[known].astype(np.int64) * 2 + right, minlength=2 * LEVELS).reshape(LEVELS, 2)
        true_pixels += np.bincount(mask[known], minlength=num_classes)
        # A pixel without a pseudo-label is neither right nor wrong: it is taken out like one without a truth.
        target = np.where(level < lowest.take(label), IGNORE_INDEX, mask)
        counts += confusion_counts(torch.from_numpy(label).long(), torch.from_numpy(target).long(), num_classes)
        scored += 1
    scores = scores_of(counts, absent="left_out") if scored else None
    confidence = level_confidence()
    return {
        "coverage": sum(kept) / int(histogram.sum()),
        "realized": [part / int(row.sum()) if row.any() else None for part, row in zip(kept, histogram, strict=True)],
        "thresholds": [
            None if not row.any() else 0.0 if level == 0 else float(confidence[level])
            for row, level in zip(histogram, selected.thresholds, strict=True)
        ],
        "miou": scores.miou if scores else None,
        "per_class_iou": list(scores.iou) if scores else None,
        "accuracy": _shares(counts.diagonal().sum()[None], counts.sum()[None])[0] if scores else None,
        "precision": _shares(counts.diagonal(), counts.sum(0)) if scores else None,
        "recall": _shares(counts.diagonal(), torch.from_numpy(true_pixels)) if scores else None,
        "calibration": calibration(by_level) if by_level.any() else None,
        "scored": scored,
    }


def calibration(by_level: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Confidence against accuracy, in bins of equal width.

    Args:
        by_level: Pixels of each confidence level that are wrong and right, int64 (LEVELS, 2).

    Returns:
        For each bin that holds any pixel, in rising order: its mean `confidence`, its `accuracy`, and its `share` of
        all pixels; and `error`, the expected calibration error, the mean of |accuracy - confidence| by share.

    Source: Guo et al. 2017, equations 2 to 5. Deviation: confidences are the levels that are stored.
    """
    confidence = level_confidence().astype(np.float64)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    pixels = by_level.sum(1)
    total, right, sure = (
        np.bincount(bins, weights=weights, minlength=CALIBRATION_BINS)
        for weights in (pixels, by_level[:, 1], pixels * confidence)
    )
    filled = total > 0
    means, accuracy, share = sure[filled] / total[filled], right[filled] / total[filled], total[filled] / total.sum()
    return {
        "confidence": means.tolist(),
        "accuracy": accuracy.tolist(),
        "share": share.tolist(),
        "error": float((share * np.abs(accuracy - means)).sum()),
    }


def _shares(parts: Tensor, of: Tensor) -> list[float | None]:
    return [part / whole if whole else None for part, whole in zip(parts.tolist(), of.tolist(), strict=True)]
