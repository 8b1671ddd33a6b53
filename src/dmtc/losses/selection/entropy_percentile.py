"""All pixels but the most uncertain ones of a batch."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dmtc.core.errors import ConfigError
from dmtc.losses.base import require
from dmtc.losses.selection.base import SELECTIONS, Pixels, between, smallest


@SELECTIONS.register("entropy_percentile")
@dataclass(frozen=True, kw_only=True)
class EntropyPercentile:
    """Pixels whose entropy is below a percentile of the entropies of all pixels that are not ignored.

    The percentile is of the whole batch, interpolated linearly between neighbors, and the pixels at it are dropped, so
    at least one pixel always is.

    Args:
        start_drop: Percentage dropped at the start of the phase, in [0, 100].
        end_drop: Percentage dropped at its end, in [0, 100]; linear in progress.

    Source: U2PL (Wang et al., CVPR 2022), section 3.2, with 20 and 0; deviations: linear in steps instead of epochs;
    the percentile is of all rows of the batch, not of those of one GPU; a batch of ignored pixels raises no error.

    Examples:
        >>> import torch
        >>> label, confidence = torch.zeros(1, 1, 5, dtype=torch.long), torch.ones(1, 1, 5)
        >>> entropy = torch.tensor([[[0.1, 0.5, 0.4, 0.2, 0.3]]])
        >>> EntropyPercentile(start_drop=20, end_drop=0)(Pixels(label, confidence, 2, entropy))
        tensor([[[ True, False,  True,  True,  True]]])
    """

    start_drop: float
    end_drop: float

    needs: ClassVar[frozenset[str]] = frozenset({"entropy"})

    def __post_init__(self) -> None:
        require(0 <= self.start_drop <= 100, self, "start_drop", "in [0, 100]")
        require(0 <= self.end_drop <= 100, self, "end_drop", "in [0, 100]")

    def __call__(self, pixels: Pixels) -> Tensor:
        """Bool (B, H, W)."""
        if pixels.entropy is None:
            raise ConfigError("selection 'entropy_percentile' needs the teacher's entropy, but this step has none")
        kept = 1 - between(self.start_drop, self.end_drop, pixels.progress) / 100
        known = pixels.entropy.where(pixels.valid, torch.inf)
        return pixels.entropy < percentile(pixels.gathered(known), kept)


def percentile(values: Tensor, share: float) -> Tensor:
    """The value below which a share of the finite values are, by linear interpolation; infinite if there are none.

    Args:
        values: Float, any shape; infinite where there is no value.
        share: In [0, 1].
    """
    last = (values.isfinite().sum() - 1).clamp(min=0)
    place = last.double() * share
    below, above = place.floor().long(), place.ceil().long()
    low, high = smallest(values, torch.stack([below, above]))
    return low + ((high - low) * (place - below)).to(low.dtype).where(above > below, 0)
