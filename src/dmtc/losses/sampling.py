"""Sample pixels by class, many at once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX


@dataclass(frozen=True)
class PixelsByClass:
    """The pixels of a batch sorted by class, hard pixels first within a class, ignored pixels last.

    Attributes:
        order: int64 (B H W), indices into the flattened labels.
        bounds: The offsets in `order` of each class's hard pixels and then its other pixels; 2 C + 1 integers.
        present: The P classes with pixels, ascending.
        starts: int64 (P), the offset of each present class in `order`.
        counts: int64 (P), the number of pixels of each present class.
    """

    order: Tensor
    bounds: list[int]
    present: list[int]
    starts: Tensor
    counts: Tensor

    @classmethod
    def sort(cls, label: Tensor, hard: Tensor, num_classes: int) -> "PixelsByClass":
        """Sort a batch. Synchronizes once with the device, to read the bounds.

        Args:
            label: int64 (B, H, W), class index or 255 = ignored.
            hard: bool (B, H, W); not read where ignored.
            num_classes: C.
        """
        key = (2 * label + ~hard).where(label != IGNORE_INDEX, 2 * num_classes).flatten()
        # Any such key fits in 16 bits, which sort ten times faster than 64.
        ordered, order = key.to(torch.int16).sort(stable=True)
        keys = torch.arange(2 * num_classes + 1, dtype=torch.int16, device=label.device)
        offsets = torch.searchsorted(ordered, keys)
        bounds: list[int] = offsets.tolist()
        present = [c for c in range(num_classes) if bounds[2 * c] < bounds[2 * c + 2]]
        starts, ends = offsets[:-1:2], offsets[2::2]
        return cls(order, bounds, present, starts[present], (ends - starts)[present])

    def num_hard(self, c: int) -> int:
        """The number of hard pixels of class c."""
        return self.bounds[2 * c + 1] - self.bounds[2 * c]

    def draw_hard(self, c: int, number: int, generator: torch.Generator | None) -> Tensor:
        """Sample hard pixels of class c, uniformly with replacement: int64 (number)."""
        place = torch.randint(self.num_hard(c), (number,), generator=generator, device=self.order.device)
        return self.order[self.bounds[2 * c] + place]

    def draw(self, chance: Tensor, shape: tuple[int, int], generator: torch.Generator | None) -> Tensor:
        """Sample a class by its probability, then a pixel of it uniformly, with replacement.

        Args:
            chance: (P), the probability of each present class.
            shape: The shape of the result.
            generator: On the device of the pixels; None for torch's default.
        """
        size = (shape[0] * shape[1],)
        # By inverting the distribution, as `multinomial` takes twice as long. The bounds end at exactly 1, so a class
        # of probability 0, wherever it is, lies between equal bounds and is never drawn.
        bounds = chance.cumsum(0)
        bounds = (bounds / bounds[-1])[:-1]
        uniform = torch.rand(size, generator=generator, device=chance.device, dtype=chance.dtype)
        row = torch.bucketize(uniform, bounds, right=True)
        # The remainder of a huge number is uniform, and the range may differ from draw to draw.
        number = torch.randint(2**62, size, generator=generator, device=row.device)
        place = self.starts.gather(0, row) + number % self.counts.gather(0, row)
        return self.order.gather(0, place).view(shape)
