"""Quality of the labels that a teacher gives inside a step, compared with known ground truth on whole images."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from dmtc.core.levels import LEVELS, level_of
from dmtc.core.types import IGNORE_INDEX
from dmtc.evaluation.quality import (
    LISTED,
    ImageQuality,
    PseudoLabelQuality,
    PseudoLabelScores,
    calibration_record,
    plain,
    share_of,
)
from dmtc.evaluation.scores import scores_of
from dmtc.machine.processes import Processes


class TaughtQuality:
    """Counts of a teacher's labels; each pixel counts by the weight that the loss gives it.

    Args:
        num_classes: Number of classes C.
    """

    def __init__(self, num_classes: int) -> None:
        self._classes = num_classes
        self._labels = torch.zeros(num_classes, dtype=torch.float64)
        self._kept = torch.zeros(num_classes, dtype=torch.float64)
        self._truth = torch.zeros(num_classes, dtype=torch.float64)
        self._confusion = torch.zeros(num_classes, num_classes, dtype=torch.float64)
        self._known = torch.zeros(num_classes * LEVELS, dtype=torch.int64)
        self._right = torch.zeros(num_classes * LEVELS, dtype=torch.int64)
        self._images: list[ImageQuality] = []

    def add(self, ids: Sequence[str], label: Tensor, confidence: Tensor, weight: Tensor, truth: Tensor) -> None:
        """Count some images.

        Args:
            ids: Their ids.
            label: int64 (B, H, W), the teacher's class of every pixel.
            confidence: Float (B, H, W) in [0, 1].
            weight: Float (B, H, W), 0 for a pixel that nothing is learned from.
            truth: int64 (B, H, W), class or `IGNORE_INDEX`.
        """
        label, truth, weight = label.cpu(), truth.cpu(), weight.cpu().double()
        known, hit = truth != IGNORE_INDEX, truth == label
        self._labels += _sums(label, torch.ones_like(weight), self._classes)
        self._kept += _sums(label, weight, self._classes)
        self._truth += _sums(truth[known], torch.ones_like(weight[known]), self._classes)
        pairs = (truth * self._classes + label)[known]
        self._confusion += _sums(pairs, weight[known], self._classes**2).view_as(self._confusion)
        place = label * LEVELS + level_of(torch.logit(confidence.cpu().double()))
        self._known += place[known].bincount(minlength=len(self._known))
        self._right += place[hit].bincount(minlength=len(self._right))
        wrong = (weight * (known & ~hit)).flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)
        shares = zip(ids, weight.flatten(1).mean(1).tolist(), wrong.tolist(), strict=True)
        self._images += [ImageQuality(id, coverage, share) for id, coverage, share in shares]

    def scores(self, processes: Processes) -> PseudoLabelScores | None:
        """The report on the images of all processes; None if there are none.

        `thresholds` are unknown, as a selection need not have any.
        """
        images = [image for of_one in processes.all_gather(self._images) for image in of_one]
        if not images:
            return None
        labels, kept, truth, confusion, known, right = (
            processes.all_reduce(counts.clone()).numpy()
            for counts in (self._labels, self._kept, self._truth, self._confusion, self._known, self._right)
        )
        scores, hits = scores_of(torch.from_numpy(confusion), absent="left_out"), confusion.diagonal()
        by_level = [counts.reshape(self._classes, LEVELS) for counts in (known, known, right)]
        quality = PseudoLabelQuality(*by_level, truth=truth.astype(np.int64), scores=scores, images=images)
        return PseudoLabelScores(
            coverage=float(kept.sum() / labels.sum()),
            realized=plain(share_of(kept, labels)),
            thresholds=[None] * self._classes,
            miou=plain([scores.miou])[0],
            per_class_iou=list(scores.iou),
            accuracy=plain([share_of(hits.sum(), confusion.sum())])[0],
            precision=plain(share_of(hits, confusion.sum(0))),
            recall=plain(share_of(hits, truth)),
            calibration=calibration_record(quality) if known.any() else None,
            scored=len(images),
            worst=[asdict(image) for image in quality.worst(LISTED)],
        )


def _sums(index: Tensor, values: Tensor, count: int) -> Tensor:
    """The sum of the values at each index below `count`."""
    return torch.bincount(index.flatten(), values.flatten(), minlength=count)
