"""What a step returns besides new weights."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(slots=True)
class StepValues:
    """Values of a step besides the new weights. All tensors stay on the device.

    Attributes:
        sums: Float scalars by name: "loss" over all students, and each term's value and logs. Each process holds its
            own part of the sums.
        gradient_norm: Float scalar over all parameters of all students; not finite if any gradient is not.
        fault: What was not finite, if checked; the step then changed nothing.
    """

    sums: dict[str, Tensor] = field(default_factory=dict)
    gradient_norm: Tensor = field(default_factory=lambda: torch.zeros(()))
    fault: str | None = None

    def add(self, name: str, value: Tensor) -> None:
        """Add the value of a part of the batch, already weighted by the part's share of the whole."""
        self.sums[name] = self.sums[name] + value if name in self.sums else value


def nonfinite(loss: float, gradient_norm: float, of: str = "") -> str | None:
    """Say which value of a step is infinite or NaN; None if neither is."""
    if not math.isfinite(loss):
        return f"the loss{of} is {loss}"
    return None if math.isfinite(gradient_norm) else f"the gradient's norm{of} is {gradient_norm}"
