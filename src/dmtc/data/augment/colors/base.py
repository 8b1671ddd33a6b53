"""What changes the colors of a view, and the registry of it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dmtc.core.registry import Registry
from dmtc.data.augment.colors.operations import Operation


class Drawn(NamedTuple):
    """An operation with the strength that was drawn for one image.

    Attributes:
        operation: One of `dmtc.data.augment.colors.operations`, or another function like them.
        strength: What the operation takes; 0 for one that takes none.
    """

    operation: Operation
    strength: float = 0.0


class Color(ABC):
    """Changes the colors of images at random. Subclass it and register the subclass in `COLORS`.

    A subclass draws the operations of one image; they are applied here, on the images' device. On a GPU, those of
    all images run together; on the CPU, image by image is faster, because an image fits the processor's cache.
    """

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Sequence[Drawn]:
        """Draw the operations for one image, in their order; none leaves the image as it is."""

    def __call__(self, images: Tensor, rngs: Sequence[np.random.Generator]) -> Tensor:
        """Change each image as its own generator says; the same generator state gives the same image.

        Args:
            images: uint8 (B, 3, H, W), RGB, on any device; not changed.
            rngs: One generator per image.

        Returns:
            uint8 (B, 3, H, W).
        """
        plans = [self.draw(rng) for _, rng in zip(images, rngs, strict=True)]
        if images.device.type != "cpu":
            return _changed(images, plans)
        result = torch.empty_like(images)
        for row, plan in enumerate(plans):
            result[row : row + 1] = _changed(images[row : row + 1], [plan])
        return result


COLORS: Registry[Color] = Registry("color")
"""The registered changes of color, chosen by `views.color`."""


def _changed(images: Tensor, plans: Sequence[Sequence[Drawn]]) -> Tensor:
    """Apply to each image its operations; those that are alike at a place in the order run together."""
    result = images.float()
    for place in range(max(map(len, plans), default=0)):
        alike: dict[Operation, list[int]] = {}
        for row, plan in enumerate(plans):
            if place < len(plan):
                alike.setdefault(plan[place].operation, []).append(row)
        for operation, rows in alike.items():
            strengths = np.array([plans[row][place].strength for row in rows], np.float64)
            if len(rows) == len(plans):
                result = operation(result, strengths)
            else:
                index = torch.tensor(rows, device=result.device)
                result[index] = operation(result[index], strengths)
    return result.round_().to(torch.uint8)
