"""Drawing pixels by their class, many at once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX


@dataclass(frozen=True)
class PixelsByClass:
    """The pixels of a batch in the order of their classes, the hard ones of each class first, the ignored ones last.

    Attributes:
        order: int64 (B H W), indices into the flattened labels.
        bounds: Where in `order` each class's hard pixels and then its other pixels begin; 2 C + 1 places.
        present: The P classes that have pixels, ascending.
        starts: int64 (P), where each present class begins in `order`.
        counts: int64 (P), how many pixels each present class has.
    """

    order: Tensor
    bounds: list[int]
    present: list[int]
    starts: Tensor
    counts: Tensor

    @classmethod
    def sort(cls, label: Tensor, hard: Tensor, num_classes: int) -> "PixelsByClass":
        """Sort a batch. Waits once for the device, to learn the bounds.

        Args:
            label: int64 (B, H, W), class index or 255 = ignored.
            hard: bool (B, H, W); not read where ignored.
            num_classes: C.
        """
        key = (2 * label + ~hard).where(label != IGNORE_INDEX, 2 * num_classes).flatten()
        # 16 bits hold any such key, and sort ten times faster than 64.
        ordered, order = key.to(torch.int16).sort(stable=True)
        keys = torch.arange(2 * num_classes + 1, dtype=torch.int16, device=label.device)
        places = torch.searchsorted(ordered, keys)
        bounds: list[int] = places.tolist()
        present = [c for c in range(num_classes) if bounds[2 * c] < bounds[2 * c + 2]]
        starts, ends = places[:-1:2], places[2::2]
        return cls(order, bounds, present, starts[present], (ends - starts)[present])

    def num_hard(self, c: int) -> int:
        """The number of hard pixels of class c."""
        return self.bounds[2 * c + 1] - self.bounds[2 * c]

    def draw_hard(self, c: int, number: int, generator: torch.Generator | None) -> Tensor:
        """Draw hard pixels of class c, uniformly with replacement: int64 (number)."""
        place = torch.randint(self.num_hard(c), (number,), generator=generator, device=self.order.device)
        return self.order[self.bounds[2 * c] + place]

    def draw(self, chance: Tensor, shape: tuple[int, int], generator: torch.Generator | None) -> Tensor:
        """Draw a class by its chance, then any pixel of it uniformly, with replacement.

        Args:
            chance: (P), of each present class.
            shape: Of the result.
            generator: On the device of the pixels; None for torch's own.
        """
        size = (shape[0] * shape[1],)
        # By the inverse of the distribution, as `multinomial` takes twice the time. Bounds reach exactly 1, so a class
        # without chance lies between equal bounds, wherever it stands, and is never hit.
        bounds = chance.cumsum(0)
        bounds = (bounds / bounds[-1])[:-1]
        uniform = torch.rand(size, generator=generator, device=chance.device, dtype=chance.dtype)
        row = torch.bucketize(uniform, bounds, right=True)
        # The remainder of a huge number is uniform over a range that differs from draw to draw.
        number = torch.randint(2**62, size, generator=generator, device=row.device)
        place = self.starts.gather(0, row) + number % self.counts.gather(0, row)
        return self.order.gather(0, place).view(shape)
