"""Whether an exported file sees what the networks see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dmtc.export.formats.base import Reading, Size
from dmtc.export.module import ExportedModule

LARGEST_DIFFERENCE = 1e-3
"""Of a probability, and as a share of pixels of another class, above which a file is refused; rounding is far below."""

_SHAPES = ((1, 64, 96), (2, 97, 131), (1, 160, 112))
"""Images, height and width that are tried where any size is allowed."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a file and the networks differ.

    Attributes:
        shapes: Images, height and width of what was tried.
        largest_difference: Of a probability in [0, 1], over all pixels.
        other_class: Share of the pixels in [0, 1] that are of another class.
    """

    shapes: tuple[tuple[int, int, int], ...]
    largest_difference: float
    other_class: float

    @property
    def is_close(self) -> bool:
        """Whether that is rounding."""
        return max(self.largest_difference, self.other_class) <= LARGEST_DIFFERENCE

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "shapes": [list(shape) for shape in self.shapes],
            "largest_difference": self.largest_difference,
            "other_class": self.other_class,
        }

    def text(self) -> str:
        """In a line."""
        tried = ", ".join("x".join(map(str, shape)) for shape in self.shapes)
        return (
            f"largest difference of a probability {self.largest_difference:.1e}, {self.other_class:.4%} of pixels of"
            f" another class (images x height x width: {tried})"
        )


def compare(module: ExportedModule, reading: Reading, size: Size) -> Agreement:
    """Show a file and the networks the same pictures, smooth ones with noise, and compare what they see."""
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
