"""Checks that an exported file predicts what the networks predict."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dmtc.export.formats.base import Reading, Size
from dmtc.export.module import ExportedModule

LARGEST_DIFFERENCE = 1e-3
"""Limit on the difference of a probability and on the share of pixels that change class; rounding is far below it."""

_SHAPES = ((1, 64, 96), (2, 97, 131), (1, 160, 112))
"""Number of images, height and width to test if any size is allowed."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How much a file and the networks differ.

    Attributes:
        shapes: Number of images, height and width of each test.
        largest_difference: Largest difference of a probability in [0, 1], over all pixels.
        other_class: Share in [0, 1] of the pixels whose class differs.
    """

    shapes: tuple[tuple[int, int, int], ...]
    largest_difference: float
    other_class: float

    @property
    def is_close(self) -> bool:
        """Whether the differences are small enough to be rounding."""
        return max(self.largest_difference, self.other_class) <= LARGEST_DIFFERENCE

    def to_json(self) -> dict[str, Any]:
        """The agreement as a JSON-ready dictionary."""
        return {
            "shapes": [list(shape) for shape in self.shapes],
            "largest_difference": self.largest_difference,
            "other_class": self.other_class,
        }

    def text(self) -> str:
        """One line that describes the agreement."""
        tried = ", ".join("x".join(map(str, shape)) for shape in self.shapes)
        return (
            f"largest difference of a probability {self.largest_difference:.1e}, {self.other_class:.4%} of pixels of"
            f" another class (images x height x width: {tried})"
        )


def compare(module: ExportedModule, reading: Reading, size: Size) -> Agreement:
    """Compare the predictions of a file and the networks on the same images, which are smooth with noise."""
    shapes = _SHAPES if size is None else ((1, *size), (2, *size))
    largest, other, pixels = 0.0, 0, 0
    for number, shape in enumerate(shapes):
        images = _pictures(number, *shape)
        with torch.inference_mode():
            expected, found = module(images), reading(images)
        other += int((expected[0] != found[0]).sum())
        pixels += expected[0].numel()
        largest = max(largest, _largest(expected[1:], found[1:]))
    return Agreement(shapes, largest, other / pixels)


def _largest(expected: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    return max(float((one - other).abs().max()) for one, other in zip(expected, found, strict=False))


def _pictures(number: int, count: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    coarse = torch.rand(count, 3, 5, 7, generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    noise = torch.randn(count, 3, height, width, generator=generator) * 0.05
    return ((smooth + noise).clamp(0, 1) * 255).round().to(torch.uint8)
