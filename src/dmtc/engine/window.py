"""The values of the steps since the last log record, which stay on the device until somebody asks for them."""

import math
from typing import Any

import torch
from torch import Tensor

from dmtc.errors import TrainingError
from dmtc.processes import ALONE, Processes

GRADIENT_NORM = "gradient_norm"


class Window:
    """Values of the steps since the last log record. Each process keeps its part of them until they are read.

    Attributes:
        opened_at: Seconds of training when it was opened.
        images: Images of its steps.
    """

    def __init__(self, opened_at: float = 0.0) -> None:
        self.opened_at = opened_at
        self.images = 0
        self._open: dict[str, Tensor] = {}
        self._steps: list[dict[str, Tensor]] = []
        self._ids: list[tuple[str, ...]] = []  # of the batches of `_steps`
        self._names: list[str] = []
        self._read = torch.empty(0, 0)  # float32 (steps, values), on the CPU: what was read from the device and is fine

    def add(self, loss: Tensor, logs: dict[str, Tensor], share: Tensor | float) -> None:
        """Add a part of the step at hand, with its share of the step."""
        for name, value in {"loss": loss, **logs}.items():
            weighted = value.float() * share
            self._open[name] = self._open[name] + weighted if name in self._open else weighted

    def fault(self, gradient_norm: Tensor, processes: Processes = ALONE) -> str | None:
        """What is not finite in the step at hand, or None; this waits for the device and the other processes."""
        return _fault(float(processes.sum(self._open["loss"].clone())), float(gradient_norm), "")

    def drop_step(self, images: int) -> None:
        """End the step at hand and forget its values."""
        self._open = {}
        self.images += images

    def close_step(self, gradient_norm: Tensor, ids: tuple[str, ...], images: int) -> None:
        """End the step at hand; nothing is read from the device.

        Args:
            gradient_norm: Of the whole batch.
            ids: Of this process's part of it.
            images: In the whole batch.
        """
        self._steps.append({**self._open, GRADIENT_NORM: gradient_norm.float()})
        self._ids.append(ids)
        self._open = {}
        self.images += images

    def check(self, phase: str, done: int, steps: int, processes: Processes = ALONE) -> None:
        """Read the values from the device, and see that losses and gradients are finite.

        Args:
            phase: Its name, for the message.
            done: Steps done, the window's last among them.
            steps: Of the whole phase.
            processes: Whose parts of the values are added up.

        Raises:
            TrainingError: Names the first step at fault and the images of its batch.
        """
        if not self._steps:
            return
        self._names = self._names or list(self._steps[0])
        table = torch.stack([torch.stack([values[name] for name in self._names]) for values in self._steps])
        norm = self._names.index(GRADIENT_NORM)
        table[:, norm] /= processes.size  # of the whole batch already, in every process
        table = processes.sum(table).cpu()
        # Where steps are dropped, there are fewer rows than steps, but then none of them is at fault.
        for step, row, ids in zip(range(done - len(table) + 1, done + 1), table, self._ids, strict=True):
            values = dict(zip(self._names, row.tolist(), strict=True))
            if fault := _fault(values["loss"], values[GRADIENT_NORM], f" of phase {phase}"):
                images = ", ".join(id for of_one in processes.gathered(ids) for id in of_one)
                raise TrainingError(f"{fault} at step {step} of {steps} (images {images})")
        self._read = torch.cat([self._read, table]) if len(self._read) else table
        self._steps, self._ids = [], []

    def means(self) -> dict[str, float]:
        """Mean of each value over the steps that were read; nothing if all were dropped."""
        return dict(zip(self._names, self._read.mean(0).tolist(), strict=True)) if len(self._read) else {}

    def state(self) -> dict[str, Any]:
        """What was read, for a checkpoint."""
        return {"opened_at": self.opened_at, "images": self.images, "names": self._names, "values": self._read}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Window":
        """The window of a checkpoint."""
        window = cls(state["opened_at"])
        window.images, window._names, window._read = state["images"], state["names"], state["values"]
        return window


def _fault(loss: float, gradient_norm: float, of: str) -> str | None:
    if not math.isfinite(loss):
        return f"the loss{of} is {loss}"
    return None if math.isfinite(gradient_norm) else f"the gradient's norm{of} is {gradient_norm}"
