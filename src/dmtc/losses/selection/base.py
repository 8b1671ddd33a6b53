"""The interface of a selection: from what the teacher says of the pixels to a weight for each."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from dmtc.core.registry import Registry
from dmtc.core.types import IGNORE_INDEX, Together


@dataclass(frozen=True)
class Pixels:
    """What a selection sees of the pseudo-labelled rows of a step; all of it without gradient.

    Attributes:
        label: int64 (B, H, W), pseudo-label or 255 = ignored.
        confidence: float (B, H, W) in [0, 1], the teacher's probability of the pseudo-label.
        num_classes: C.
        entropy: float (B, H, W), in nats, of the teacher's probabilities, or None.
        progress: The done share of the phase, in [0, 1).
        processes: The processes whose rows together are the batch; None for a single one.
    """

    label: Tensor
    confidence: Tensor
    num_classes: int
    entropy: Tensor | None = None
    progress: float = 0.0
    processes: Together | None = None

    @property
    def valid(self) -> Tensor:
        """Bool (B, H, W), false where ignored."""
        return self.label != IGNORE_INDEX

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum of a fresh tensor over all processes; it may be changed in place."""
        return tensor if self.processes is None else self.processes.all_reduce(tensor)

    def gathered(self, rows: Tensor) -> Tensor:
        """The rows of all processes."""
        return rows if self.processes is None else self.processes.gather_rows(rows)


class Selection(Protocol):
    """A callable that weights pixels. One that learns as it goes is an `nn.Module` with its state in buffers."""

    @property
    def needs(self) -> frozenset[str]:
        """The optional fields of `Pixels` that it reads: "entropy" or nothing."""
        ...

    def __call__(self, pixels: Pixels) -> Tensor:
        """The weight of each pixel: bool or float (B, H, W), at least 0; not read where the label is ignored."""
        ...


@runtime_checkable
class SelectsPixels(Protocol):
    """A loss on the pixels that a selection takes; reports show which these are."""

    selection: Selection


SELECTIONS: Registry[Selection] = Registry("selection")
"""All registered selections, the `selection:` of losses on pseudo-labels."""


def between(start: float, end: float, progress: float) -> float:
    """The value on the way from `start` to `end`, linear in progress."""
    return start + (end - start) * progress


def smallest(values: Tensor, place: Tensor) -> Tensor:
    """The values at some places of the rising order.

    Args:
        values: Any shape, n in all.
        place: int64 in [0, n), any shape, on any device.

    Returns:
        Of the shape of `place`, on the device of the values.

    Examples:
        >>> smallest(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0, 2]))
        tensor([1., 3.])
    """
    flat = values.flatten()
    if flat.device.type == "cpu":  # which selects one value in a tenth of the time of sorting all
        found = [flat.kthvalue(index + 1)[0] for index in place.flatten().tolist()]
        return torch.stack(found).view(place.shape)
    return flat.sort()[0][place.to(flat.device)]
