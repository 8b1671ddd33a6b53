"""Selections with nothing to find out: every pixel, or those above a fixed confidence."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dmtc.losses.base import require
from dmtc.losses.selection.base import SELECTIONS, Pixels


@SELECTIONS.register("everything")
@dataclass(frozen=True, kw_only=True)
class Everything:
    """Every pixel that is not ignored.

    Source: cross pseudo supervision (Chen et al., CVPR 2021); deviation: padding and void pixels, which its code
    learns from too, are left out as long as their label is 255.
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, pixels: Pixels) -> Tensor:
        """True everywhere: bool (B, H, W)."""
        return torch.ones_like(pixels.label, dtype=torch.bool)


@SELECTIONS.register("threshold")
@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Pixels whose confidence is at least a threshold.

    Args:
        threshold: In [0, 1].

    Source: FixMatch (Sohn et al., NeurIPS 2020), per pixel as in UniMatch (Yang et al., CVPR 2023), whose threshold is
    0.95 on VOC; deviation: none.

    Examples:
        >>> import torch
        >>> label, confidence = torch.zeros(1, 1, 2, dtype=torch.long), torch.tensor([[[0.9, 0.95]]])
        >>> Threshold(threshold=0.95)(Pixels(label, confidence, num_classes=2))
        tensor([[[False,  True]]])
    """

    threshold: float

    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, self, "threshold", "in [0, 1]")

    def __call__(self, pixels: Pixels) -> Tensor:
        """Bool (B, H, W)."""
        return pixels.confidence >= self.threshold
