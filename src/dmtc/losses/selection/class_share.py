"""The most confident share of every class of a batch."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dmtc.core.levels import LEVELS, confidence_histogram, level_of
from dmtc.losses.base import require
from dmtc.losses.selection.base import SELECTIONS, Pixels, between


@SELECTIONS.register("class_share")
@dataclass(frozen=True, kw_only=True)
class ClassShare:
    """The most confident share of the pixels of every class, of the whole batch.

    A class of n pixels keeps its int(n * share) + 1 most confident ones, and all others of the same level of
    confidence (`dmtc.core.levels`); all of them if n * share is below 1.

    Args:
        start: Share at the start of the phase, in (0, 1].
        end: Share at its end, in (0, 1]; the share is linear in progress.

    Source: class-balanced self-training (Zou et al., ECCV 2018, algorithm 1), with the batch in place of the whole
    unlabelled set. Deviations: that, and confidences are binned.

    Examples:
        >>> import torch
        >>> label, confidence = torch.tensor([[[0, 0, 0, 1]]]), torch.tensor([[[0.9, 0.8, 0.7, 0.6]]])
        >>> ClassShare(start=0.4, end=1.0)(Pixels(label, confidence, num_classes=2))
        tensor([[[ True,  True, False,  True]]])
    """

    start: float
    end: float

    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        require(0 < self.start <= 1, self, "start", "above 0 and at most 1")
        require(0 < self.end <= 1, self, "end", "above 0 and at most 1")

    def __call__(self, pixels: Pixels) -> Tensor:
        """Bool (B, H, W)."""
        level = level_of(pixels.confidence.logit())
        row = pixels.label.where(pixels.valid, pixels.num_classes)  # one row more, of the ignored pixels
        histogram = pixels.summed(confidence_histogram(row, level, pixels.num_classes + 1))
        lowest = _lowest_levels(histogram, between(self.start, self.end, pixels.progress))
        return level >= lowest[row]


def _lowest_levels(histogram: Tensor, share: float) -> Tensor:
    """The lowest level kept of each class, as `dmtc.pseudo.selection.threshold_levels`, on the histogram's device."""
    if share >= 1:
        return histogram.new_zeros(len(histogram))
    wanted = (histogram.sum(1).double() * share).long()
    at_least = histogram.flip(1).cumsum(1).flip(1)
    highest = (at_least > wanted[:, None]).sum(1) - 1
    return highest.clamp(0, LEVELS - 1).where(wanted >= 1, 0)
