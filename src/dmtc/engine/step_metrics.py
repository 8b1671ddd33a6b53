"""Values of the steps since the last log record, kept on the device until they are read."""

from typing import Any

import torch
from torch import Tensor

from dmtc.core.errors import TrainingError
from dmtc.engine.step_values import StepValues, nonfinite
from dmtc.machine.processes import ALONE, Processes

GRADIENT_NORM = "gradient_norm"


class StepMetrics:
    """Values of the steps since the last log record. Each process keeps its own part until they are read.

    Attributes:
        since: Seconds of training at the last record.
        images: Number of images in the steps since then.
    """

    def __init__(self, since: float = 0.0) -> None:
        self.since = since
        self.images = 0
        self._steps: list[dict[str, Tensor]] = []
        self._ids: list[tuple[str, ...]] = []  # image ids of each batch in `_steps`
        self._names: list[str] = []
        self._read = torch.empty(0, 0)  # float32 (steps, values) on the CPU: values read and found finite

    def add(self, values: StepValues, ids: tuple[str, ...], images: int) -> None:
        """Add a step without reading from the device. Values of a dropped step are discarded.

        Args:
            values: This process's part of the values.
            ids: Image ids in this process's part of the batch.
            images: Number of images in the whole batch.
        """
        self.images += images
        if values.fault is None:
            self._steps.append({**values.sums, GRADIENT_NORM: values.gradient_norm.float()})
            self._ids.append(ids)

    def check(self, phase: str, done: int, steps: int, processes: Processes = ALONE) -> None:
        """Read the values from the device, and check that losses and gradients are finite.

        Args:
            phase: Name of the phase, for the message.
            done: Steps done, including the last one added.
            steps: Steps of the whole phase.
            processes: Processes whose parts of the values are summed.

        Raises:
            TrainingError: A loss or gradient is not finite; names the first such step and the images of its batch.
        """
        if not self._steps:
            return
        self._names = self._names or list(self._steps[0])
        table = torch.stack([torch.stack([values[name] for name in self._names]) for values in self._steps])
        norm = self._names.index(GRADIENT_NORM)
        table[:, norm] /= processes.size  # already that of the whole batch in every process
        table = processes.all_reduce(table).cpu()
        # With dropped steps there are fewer rows than steps, but then every row is finite.
        for step, row, ids in zip(range(done - len(table) + 1, done + 1), table, self._ids, strict=True):
            values = dict(zip(self._names, row.tolist(), strict=True))
            if fault := nonfinite(values["loss"], values[GRADIENT_NORM], f" of phase {phase}"):
                images = ", ".join(id for of_one in processes.all_gather(ids) for id in of_one)
                raise TrainingError(f"{fault} at step {step} of {steps} (images {images})")
        self._read = torch.cat([self._read, table]) if len(self._read) else table
        self._steps, self._ids = [], []

    def means(self) -> dict[str, float]:
        """Mean of each value over the steps read; empty if all were dropped."""
        return dict(zip(self._names, self._read.mean(0).tolist(), strict=True)) if len(self._read) else {}

    def state(self) -> dict[str, Any]:
        """The values read so far, for a checkpoint."""
        return {"since": self.since, "images": self.images, "names": self._names, "values": self._read}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "StepMetrics":
        """Rebuild what `state` returned."""
        metrics = cls(state["since"])
        metrics.images, metrics._names, metrics._read = state["images"], state["names"], state["values"]
        return metrics
