"""How good pseudo-labels are, held against the truth where it is known. For reports alone, never for training."""

from collections.abc import Sequence
from typing import Any

import torch

from dmtc.data import Dataset
from dmtc.errors import DataError
from dmtc.evaluation import confusion_counts, scores_of
from dmtc.processes import ALONE, Processes
from dmtc.pseudo import PseudoLabelStore
from dmtc.types import IGNORE_INDEX


def score_pseudo_labels(
    store: PseudoLabelStore,
    label_ratio: float,
    ids: Sequence[str],
    truth: Dataset | None,
    processes: Processes = ALONE,
) -> dict[str, Any]:
    """Coverage of a label ratio, and mIoU of what is kept.

    Args:
        store: A teacher's predictions for `ids`.
        label_ratio: In (0, 1].
        ids: The unlabelled images.
        truth: Where masks are looked up; None opens no mask. An image whose mask is missing or unreadable is left out
            of the mIoU: nothing that is only reported may stop a training.
        processes: Which share the images out.

    Returns:
        `coverage` and `realized` in [0, 1]: share of all pixels, and of each predicted class's pixels, that is kept;
        `miou` and `per_class_iou` of the kept pixels, None without any truth; `scored`, the number of images scored.
    """
    selected = store.select(label_ratio)
    histogram = store.histogram()
    num_classes = len(histogram)
    kept = [int(row[lowest:].sum()) for row, lowest in zip(histogram, selected.thresholds, strict=True)]
    counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    scored = 0
    for id in processes.share(ids) if truth is not None else ():
        if truth is None or id not in truth.masks or id not in store:  # not in the store: skipped as unreadable
            continue
        try:
            mask = truth.mask(id)
        except DataError:
            continue
        label, _ = selected.read(id)
        if label.shape != mask.shape:
            continue
        # A pixel without a pseudo-label is neither right nor wrong: it is taken out like one without a truth.
        known = torch.from_numpy(mask).long().masked_fill(torch.from_numpy(label == IGNORE_INDEX), IGNORE_INDEX)
        prediction = torch.from_numpy(label).long().clamp(max=num_classes - 1)
        counts += confusion_counts(prediction, known, num_classes)
        scored += 1
    counts, scored = processes.sum(counts), int(processes.sum(torch.tensor(scored)))
    scores = scores_of(counts, absent="left_out") if scored else None
    return {
        "coverage": sum(kept) / int(histogram.sum()),
        "realized": [part / int(row.sum()) if row.any() else None for part, row in zip(kept, histogram, strict=True)],
        "miou": scores.miou if scores else None,
        "per_class_iou": list(scores.iou) if scores else None,
        "scored": scored,
    }
