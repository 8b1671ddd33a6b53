"""Metrics that see every scored image, as the confusion counts of all images together do not tell them.

Means over images are kept as sums of integers, so that they do not depend on the order or sharing of the images.
"""

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dmtc.core.errors import ConfigError
from dmtc.core.types import IGNORE_INDEX
from dmtc.evaluation.metrics import METRICS, Absent, ImageMetric, MetricValue, iou, mean_over_classes
from dmtc.evaluation.scores import confusion_counts

Mask = npt.NDArray[np.bool_]

_UNITS = 2**40
"""Steps in which a score in [0, 1] is counted."""


@METRICS.register("image_miou")
class ImageMIoU(ImageMetric):
    """Mean over images of each image's mIoU, in which small images and objects count as much as large ones.

    An image's mIoU is the mean over the classes in its truth or prediction, whatever `evaluation.absent` says. Images
    without a labelled pixel are left out.

    Source: Csurka et al. 2013, section 3.1, with IoU as the score of an image; deviation: none.
    """

    def __init__(self, *, num_classes: int) -> None:
        self._num_classes = num_classes
        self._sums = torch.zeros(2, dtype=torch.int64)

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """See `ImageMetric.update`."""
        for predicted, true in zip(prediction, truth, strict=True):
            counts = confusion_counts(predicted, true, self._num_classes).to("cpu", torch.float64)
            if counts.any():
                self._sums += torch.tensor([round(iou(counts, "left_out").overall * _UNITS), 1])

    def state(self) -> Tensor:
        """int64 (2,): the sum over images in steps of 2^-40, and their number."""
        return self._sums

    def value(self, state: Tensor) -> MetricValue:
        """See `ImageMetric.value`."""
        total, images = state.tolist()
        return MetricValue(total / _UNITS / images if images else float("nan"))


@METRICS.register("boundary_f1")
class BoundaryF1(ImageMetric):
    """How well boundaries are found: the harmonic mean of precision and recall of boundary pixels.

    A pixel is on the boundary of its class if one of its four neighbors is of another class; pixels without truth and
    the border of the image make none. A predicted boundary pixel is right if the true boundary of the class is within
    the tolerance, and a true one is found if the predicted one is. The score of a class is the mean over the images in
    which its boundary is in the truth or the prediction.

    Source: Csurka et al. 2013, section 3.2, whose tolerance is 0.75 % of the image's diagonal. Deviation: the mean is
    over images first and then over classes, so that every class has a score.

    Args:
        num_classes: C.
        absent: How a class without any boundary affects the mean; see `mean_over_classes`.
        tolerance: Greatest distance between pixel centers at which they match, in `unit`.
        unit: "pixels", or "diagonal" for a share of the diagonal of the scored frame.

    Raises:
        ConfigError: The tolerance is below 0.
    """

    def __init__(
        self, *, num_classes: int, absent: Absent, tolerance: float, unit: Literal["pixels", "diagonal"]
    ) -> None:
        if tolerance < 0:
            raise ConfigError(
                f"evaluation.metric_options.boundary_f1.tolerance should be 0 or more, but is {tolerance}"
            )
        self._tolerance, self._unit = tolerance, unit
        self._absent: Absent = absent
        self._sums = torch.zeros(2, num_classes, dtype=torch.int64)

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """See `ImageMetric.update`."""
        for predicted, true in zip(prediction.cpu().numpy(), truth.cpu().numpy(), strict=True):
            known = true != IGNORE_INDEX
            found, wanted = _boundary(predicted, known), _boundary(true, known)
            reach = self._tolerance * (float(np.hypot(*true.shape)) if self._unit == "diagonal" else 1.0)
            for number in np.union1d(predicted[found], true[wanted]).tolist():
                score = _f1(found & (predicted == number), wanted & (true == number), reach)
                self._sums[:, number] += torch.tensor([round(score * _UNITS), 1])

    def state(self) -> Tensor:
        """int64 (2, C): by class the sum over images in steps of 2^-40, and their number."""
        return self._sums

    def value(self, state: Tensor) -> MetricValue:
        """See `ImageMetric.value`."""
        total, images = state.to(torch.float64)
        mean = mean_over_classes(total / _UNITS / images, self._absent)
        diagonal = self._unit == "diagonal"
        within = f"{100 * self._tolerance:g} % of the diagonal" if diagonal else f"{self._tolerance:g} pixels"
        return MetricValue(mean.overall, mean.per_class, f"within {within}")


def _boundary(label: npt.NDArray[np.int64], known: Mask) -> Mask:
    """Known pixels with a known neighbor of another class, (H, W)."""
    boundary = np.zeros(label.shape, dtype=bool)
    for first, second in (np.s_[:-1, :], np.s_[1:, :]), (np.s_[:, :-1], np.s_[:, 1:]):
        differs = (label[first] != label[second]) & known[first] & known[second]
        boundary[first] |= differs
        boundary[second] |= differs
    return boundary


def _f1(found: Mask, wanted: Mask, reach: float) -> float:
    """Harmonic mean of the shares of two boundaries within reach of each other; 0 if one of them is empty."""
    if not found.any() or not wanted.any():
        return 0.0
    precision, recall = _share_near(found, wanted, reach), _share_near(wanted, found, reach)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _share_near(pixels: Mask, others: Mask, reach: float) -> float:
    distance = cv2.distanceTransform((~others).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((distance[pixels] <= reach + 1e-3).mean())  # distances are float32
