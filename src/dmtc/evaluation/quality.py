"""How good pseudo-labels are, held against the truth where it is known. For reports alone, never for training."""

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
"""Of equal width, as in Guo et al. 2017."""

_LISTED = 8
"""Worst images that a phase's record names."""

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ImageQuality:
    """The pseudo-label of one image whose truth is known, at the phase's label ratio.

    Attributes:
        id: The image's name.
        coverage: Share of its pixels in [0, 1] that have a pseudo-label.
        wrong: Share of its pixels of known truth in [0, 1] that have a wrong one.
    """

    id: str
    coverage: float
    wrong: float


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """What a label ratio keeps of a teacher's predictions, and how much of it is right.

    Attributes:
        coverage: Share of all pixels in [0, 1] that is kept.
        realized: (C,), share of each predicted class's pixels that is kept; NaN for a class that is never predicted.
        thresholds: (C,), the confidence from which each class is kept; 0 where all of it is, NaN for a class that is
            never predicted.
        precision: (C,), share of the pixels kept as a class that are of it; NaN where none of known truth is kept.
        recall: (C,), share of a class's pixels that are kept and right; NaN where there are none.
        accuracy: Share of the kept pixels that are right; NaN without any truth.
    """

    coverage: float
    realized: Values
    thresholds: Values
    precision: Values
    recall: Values
    accuracy: float


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Whether a teacher is as often right as it is sure; C predicted classes, confidences in even bins of [0, 1].

    Attributes:
        pixels: int64 (C, bins), pixels of known truth.
        confidence: (C, bins), their mean confidence; NaN where there are none.
        accuracy: (C, bins), the share of them that is right; NaN where there are none.
    """

    pixels: Counts
    confidence: Values
    accuracy: Values

    def overall(self) -> "Calibration":
        """The same over all classes, each array (1, bins)."""
        pixels = self.pixels.sum(0, keepdims=True)
        confidence, accuracy = (
            _share(np.nansum(of * self.pixels, 0, keepdims=True), pixels) for of in (self.confidence, self.accuracy)
        )
        return Calibration(pixels, confidence, accuracy)

    def error(self) -> Values:
        """(C,), the mean distance of accuracy from confidence (expected calibration error); NaN without pixels.

        Source: Guo et al. 2017, equation 5, with pixels in place of samples; deviation: none.
        """
        distance = np.nansum(np.abs(self.accuracy - self.confidence) * self.pixels, 1)
        return _share(distance, self.pixels.sum(1))


@dataclass(frozen=True, slots=True, eq=False)
class PseudoLabelQuality:
    """A teacher's predictions for the unlabelled images: counts from which every label ratio follows at once.

    Attributes:
        predicted: int64 (C, LEVELS), all pixels by predicted class and confidence level.
        known: int64 (C, LEVELS), those whose truth is known.
        right: int64 (C, LEVELS), those of which the prediction is right.
        truth: int64 (C,), pixels truly of each class.
        scores: Of the pixels kept at the phase's own ratio; None without any truth.
        images: Those whose truth is known.
    """

    predicted: Counts
    known: Counts
    right: Counts
    truth: Counts
    scores: Scores | None
    images: list[ImageQuality]

    def at(self, label_ratio: float) -> Selection:
        """What a label ratio in (0, 1] keeps.

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
            realized=_share(kept, self.predicted.sum(1)),
            thresholds=np.where(self.predicted.any(1), threshold_confidences(levels), np.nan),
            precision=_share(right, known),
            recall=_share(right, self.truth),
            accuracy=float(_share(right.sum(), known.sum())),
        )

    def calibration(self, bins: int = CALIBRATION_BINS) -> Calibration:
        """Confidence against accuracy of all predictions, kept or not."""
        sureness = level_confidence().astype(np.float64)
        # The levels of a bin lie side by side; each bin begins at the first level that is not below its edge.
        edges = [*np.searchsorted(sureness, np.arange(bins) / bins), LEVELS]
        pixels, sure, right = (
            np.stack([of[:, first:last].sum(1) for first, last in pairwise(edges)], axis=1)
            for of in (self.known, self.known * sureness, self.right)
        )
        return Calibration(pixels, _share(sure, pixels), _share(right, pixels))

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
        label_ratio: In (0, 1]; that of `PseudoLabelQuality.scores` and `.images`.
        ids: The unlabelled images.
        truth: Where masks are looked up; None opens no mask. An image whose mask is missing or unreadable is left out:
            nothing that is only reported may stop a training.
        processes: Which share the images out.
    """
    predicted = store.histogram()
    num_classes = len(predicted)
    lowest = threshold_levels(predicted, label_ratio)
    known, right = np.zeros_like(predicted), np.zeros_like(predicted)
    counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    of_class = np.zeros(num_classes, np.int64)
    images = []
    for id in processes.share(ids) if truth is not None else ():
        if truth is None or id not in truth.masks or id not in store:  # not in the store: skipped as unreadable
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
        # A pixel without a pseudo-label is neither right nor wrong: it is taken out like one without a truth.
        compared = torch.from_numpy(np.where(kept, mask, IGNORE_INDEX)).long()
        counts += confusion_counts(torch.from_numpy(label.astype(np.int64)), compared, num_classes)
        wrong = (kept & is_known & ~hit).sum() / max(1, is_known.sum())
        images.append(ImageQuality(id, float(kept.mean()), float(wrong)))
    for own in (known, right, of_class, counts):
        processes.all_reduce(torch.as_tensor(own))  # in place: an array shares its memory with the tensor
    images = [image for of_one in processes.all_gather(images) for image in of_one]
    scores = scores_of(counts, absent="left_out") if images else None
    return PseudoLabelQuality(predicted, known, right, of_class, scores, images)


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoLabelScores:
    """What is reported of a phase's pseudo-labels, JSON-ready. Lists are by class, shares and IoU in [0, 1].

    Values are None where there is nothing to divide by; all that need the truth are None without any.

    Attributes:
        coverage: As in `Selection`.
        realized: As in `Selection`.
        thresholds: As in `Selection`.
        miou: Of the kept pixels.
        per_class_iou: The same for each class.
        accuracy: As in `Selection`.
        precision: As in `Selection`.
        recall: As in `Selection`.
        calibration: Of all predictions, kept or not: for each bin that holds any pixel, in rising order, its mean
            `confidence`, its `accuracy` and its `share` of the pixels; and `error`, as in `Calibration.error`.
        scored: Number of images with a truth.
        worst: The worst of them, each with `id`, `coverage` and `wrong`.
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
    """What is reported of a phase's pseudo-labels.

    Args:
        store: As in `hold_against_truth`, and so are the others.
        label_ratio: In (0, 1].
        ids: The unlabelled images.
        truth: Where masks are looked up.
        processes: Which share the images out.
    """
    quality = hold_against_truth(store, label_ratio, ids, truth, processes)
    selection, scores = quality.at(label_ratio), quality.scores
    return PseudoLabelScores(
        coverage=selection.coverage,
        realized=_plain(selection.realized),
        thresholds=_plain(selection.thresholds),
        miou=scores.miou if scores else None,
        per_class_iou=list(scores.iou) if scores else None,
        accuracy=_plain([selection.accuracy])[0],
        precision=_plain(selection.precision) if scores else None,
        recall=_plain(selection.recall) if scores else None,
        calibration=_calibration(quality) if quality.known.any() else None,
        scored=len(quality.images),
        worst=[dataclasses.asdict(image) for image in quality.worst(_LISTED)],
    )


def _calibration(quality: PseudoLabelQuality) -> dict[str, Any]:
    overall = quality.calibration().overall()
    filled = overall.pixels[0] > 0
    return {
        "confidence": overall.confidence[0, filled].tolist(),
        "accuracy": overall.accuracy[0, filled].tolist(),
        "share": (overall.pixels[0, filled] / overall.pixels.sum()).tolist(),
        "error": float(overall.error()[0]),
    }


def _share(part: npt.ArrayLike, of: npt.ArrayLike) -> Values:
    """A quotient that is NaN where there is nothing to divide by."""
    part, of = np.asarray(part, np.float64), np.asarray(of, np.float64)
    return np.divide(part, of, out=np.full(np.broadcast_shapes(part.shape, of.shape), np.nan), where=of > 0)


def _plain(values: npt.ArrayLike) -> list[float | None]:
    """For JSON, which knows no NaN."""
    return [None if np.isnan(value) else value for value in np.asarray(values, np.float64).tolist()]
