"""Quality of pseudo-labels compared with known ground truth. Used only for reports, never for training."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dmtc.core.errors import DataError
from dmtc.core.types import IGNORE_INDEX
from dmtc.data import Dataset
from dmtc.evaluation import Scores, confusion_counts, scores_of
from dmtc.machine.processes import ALONE, Processes
from dmtc.pseudo import LEVELS, PseudoLabelStore, level_confidence
from dmtc.pseudo.selection import threshold_confidences, threshold_levels

CALIBRATION_BINS = 15
"""Number of equal-width bins, as in Guo et al. 2017."""

LISTED = 8
"""How many of the worst images a phase's record names."""

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ImageQuality:
    """Quality of one image's pseudo-label at the phase's label ratio, compared with known truth.

    Attributes:
        id: The image's id.
        coverage: Share in [0, 1] of its pixels that have a pseudo-label.
        wrong: Share in [0, 1] of its pixels with known truth that have a wrong pseudo-label.
    """

    id: str
    coverage: float
    wrong: float


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The predictions that a label ratio keeps, and how many of them are right.

    Attributes:
        coverage: Share in [0, 1] of all pixels that is kept.
        realized: (C,), kept share of the pixels predicted as each class; NaN for a class that is never predicted.
        thresholds: (C,), minimum confidence at which each class is kept; 0 for a class kept entirely, NaN for one that
            is never predicted.
        precision: (C,), share of the pixels kept as a class that belong to it; NaN if none with known truth is kept.
        recall: (C,), share of a class's pixels that are kept and right; NaN for a class without pixels.
        accuracy: Share of kept pixels that are right; NaN without any truth.
    """

    coverage: float
    realized: Values
    thresholds: Values
    precision: Values
    recall: Values
    accuracy: float


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A teacher's accuracy against its confidence, for C predicted classes and equal-width confidence bins of [0, 1].

    Attributes:
        pixels: int64 (C, bins), pixels with known truth.
        confidence: (C, bins), their mean confidence; NaN for an empty bin.
        accuracy: (C, bins), share of them that is right; NaN for an empty bin.
    """

    pixels: Counts
    confidence: Values
    accuracy: Values

    def overall(self) -> "Calibration":
        """The same over all classes, each array (1, bins)."""
        pixels = self.pixels.sum(0, keepdims=True)
        confidence, accuracy = (
            share_of(np.nansum(of * self.pixels, 0, keepdims=True), pixels) for of in (self.confidence, self.accuracy)
        )
        return Calibration(pixels, confidence, accuracy)

    def error(self) -> Values:
        """(C,), mean distance between accuracy and confidence (expected calibration error); NaN without pixels.

        Source: Guo et al. 2017, equation 5, with pixels instead of samples; deviation: none.
        """
        distance = np.nansum(np.abs(self.accuracy - self.confidence) * self.pixels, 1)
        return share_of(distance, self.pixels.sum(1))


@dataclass(frozen=True, slots=True, eq=False)
class PseudoLabelQuality:
    """Counts of a teacher's predictions for the unlabelled images, enough to evaluate any label ratio.

    Attributes:
        predicted: int64 (C, LEVELS), all pixels by predicted class and confidence level.
        known: int64 (C, LEVELS), pixels whose truth is known.
        right: int64 (C, LEVELS), pixels predicted correctly.
        truth: int64 (C,), pixels of each class in the truth.
        scores: Scores of the pixels kept at the phase's own ratio; None without any truth.
        images: Quality of each image whose truth is known.
    """

    predicted: Counts
    known: Counts
    right: Counts
    truth: Counts
    scores: Scores | None
    images: list[ImageQuality]

    def at(self, label_ratio: float) -> Selection:
        """The predictions kept by a label ratio in (0, 1].

        Raises:
            ConfigError: The ratio is outside (0, 1].
        """
        levels = threshold_levels(self.predicted, label_ratio)
        kept, known, right = (
            np.where(np.arange(LEVELS) >= levels[:, None], of, 0).sum(1)
            for of in (self.predicted, self.known, self.right)
        )
        return Selection(
            coverage=float(kept.sum() / self.predicted.sum()),
            realized=share_of(kept, self.predicted.sum(1)),
            thresholds=np.where(self.predicted.any(1), threshold_confidences(levels), np.nan),
            precision=share_of(right, known),
            recall=share_of(right, self.truth),
            accuracy=float(share_of(right.sum(), known.sum())),
        )

    def calibration(self, bins: int = CALIBRATION_BINS) -> Calibration:
        """Accuracy against confidence of all predictions, kept or not."""
        confidence = level_confidence().astype(np.float64)
        # The levels of a bin are contiguous; each bin starts at the first level not below its edge.
        edges = [*np.searchsorted(confidence, np.arange(bins) / bins), LEVELS]
        pixels, confidences, right = (
            np.stack([of[:, first:last].sum(1) for first, last in pairwise(edges)], axis=1)
            for of in (self.known, self.known * confidence, self.right)
        )
        return Calibration(pixels, share_of(confidences, pixels), share_of(right, pixels))

    def worst(self, count: int) -> list[ImageQuality]:
        """The images with the largest share of wrongly labelled pixels, worst first."""
        return sorted(self.images, key=lambda image: (-image.wrong, image.id))[:count]


def hold_against_truth(
    store: PseudoLabelStore,
    label_ratio: float,
    ids: Sequence[str],
    truth: Dataset | None,
    processes: Processes = ALONE,
) -> PseudoLabelQuality:
    """Count how many of a teacher's predictions are right.

    Args:
        store: A teacher's predictions for `ids`.
        label_ratio: In (0, 1]; the ratio for `PseudoLabelQuality.scores` and `.images`.
        ids: The unlabelled images.
        truth: Data set with the masks; None opens no mask. Images whose mask is missing or unreadable are left out,
            because a mere report must not stop training.
        processes: Processes that share the images.
    """
    predicted = store.histogram()
    num_classes = len(predicted)
    lowest = threshold_levels(predicted, label_ratio)
    known, right = np.zeros_like(predicted), np.zeros_like(predicted)
    counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    of_class = np.zeros(num_classes, np.int64)
    images = []
    for id in processes.share(ids) if truth is not None else ():
        if truth is None or id not in truth.masks or id not in store:  # absent from the store if unreadable
            continue
        try:
            mask = truth.mask(id)
        except DataError:
            continue
        label, level = store.read(id)
        if label.shape != mask.shape:
            continue
        is_known, kept, hit = mask != IGNORE_INDEX, level >= lowest[label], mask == label
        place = label.astype(np.int64) * LEVELS + level
        known += np.bincount(place[is_known], minlength=predicted.size).reshape(predicted.shape)
        right += np.bincount(place[hit], minlength=predicted.size).reshape(predicted.shape)
        of_class += np.bincount(mask[is_known], minlength=num_classes)
        # A pixel without a pseudo-label is neither right nor wrong, so it is ignored like one without truth.
        compared = torch.from_numpy(np.where(kept, mask, IGNORE_INDEX)).long()
        counts += confusion_counts(torch.from_numpy(label.astype(np.int64)), compared, num_classes)
        wrong = (kept & is_known & ~hit).sum() / max(1, is_known.sum())
        images.append(ImageQuality(id, float(kept.mean()), float(wrong)))
    for own in (known, right, of_class, counts):
        processes.all_reduce(torch.as_tensor(own))  # in place: the tensor shares the array's memory
    images = [image for of_one in processes.all_gather(images) for image in of_one]
    scores = scores_of(counts, absent="left_out") if images else None
    return PseudoLabelQuality(predicted, known, right, of_class, scores, images)


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoLabelScores:
    """Report on a phase's pseudo-labels, ready for JSON. Lists are by class; shares and IoU are in [0, 1].

    Values are None where undefined, and all that need the truth are None without it.

    Attributes:
        coverage: See `Selection`.
        realized: See `Selection`.
        thresholds: See `Selection`.
        miou: mIoU of the kept pixels.
        per_class_iou: IoU of the kept pixels, by class.
        accuracy: See `Selection`.
        precision: See `Selection`.
        recall: See `Selection`.
        calibration: For all predictions, kept or not: mean `confidence`, `accuracy` and `share` of the pixels for each
            nonempty bin in rising order, and `error` from `Calibration.error`.
        scored: Number of images with known truth.
        worst: The worst of these images, each with `id`, `coverage` and `wrong`.
    """

    coverage: float
    realized: list[float | None]
    thresholds: list[float | None]
    miou: float | None
    per_class_iou: list[float | None] | None
    accuracy: float | None
    precision: list[float | None] | None
    recall: list[float | None] | None
    calibration: dict[str, Any] | None
    scored: int
    worst: list[dict[str, Any]]


def score_pseudo_labels(
    store: PseudoLabelStore,
    label_ratio: float,
    ids: Sequence[str],
    truth: Dataset | None,
    processes: Processes = ALONE,
) -> PseudoLabelScores:
    """Report on a phase's pseudo-labels.

    Args:
        store: Like all arguments, see `hold_against_truth`.
        label_ratio: In (0, 1].
        ids: The unlabelled images.
        truth: Data set with the masks.
        processes: Processes that share the images.
    """
    quality = hold_against_truth(store, label_ratio, ids, truth, processes)
    selection, scores = quality.at(label_ratio), quality.scores
    return PseudoLabelScores(
        coverage=selection.coverage,
        realized=plain(selection.realized),
        thresholds=plain(selection.thresholds),
        miou=scores.miou if scores else None,
        per_class_iou=list(scores.iou) if scores else None,
        accuracy=plain([selection.accuracy])[0],
        precision=plain(selection.precision) if scores else None,
        recall=plain(selection.recall) if scores else None,
        calibration=calibration_record(quality) if quality.known.any() else None,
        scored=len(quality.images),
        worst=[dataclasses.asdict(image) for image in quality.worst(LISTED)],
    )


def calibration_record(quality: PseudoLabelQuality) -> dict[str, Any]:
    """The calibration of all classes together, as in `PseudoLabelScores`."""
    overall = quality.calibration().overall()
    filled = overall.pixels[0] > 0
    return {
        "confidence": overall.confidence[0, filled].tolist(),
        "accuracy": overall.accuracy[0, filled].tolist(),
        "share": (overall.pixels[0, filled] / overall.pixels.sum()).tolist(),
        "error": float(overall.error()[0]),
    }


def share_of(part: npt.ArrayLike, of: npt.ArrayLike) -> Values:
    """A quotient that is NaN where the divisor is 0."""
    part, of = np.asarray(part, np.float64), np.asarray(of, np.float64)
    return np.divide(part, of, out=np.full(np.broadcast_shapes(part.shape, of.shape), np.nan), where=of > 0)


def plain(values: npt.ArrayLike) -> list[float | None]:
    """Replace NaN by None, because JSON has no NaN."""
    return [None if np.isnan(value) else value for value in np.asarray(values, np.float64).tolist()]
