"""One training step, written like a paper's algorithm: forward, terms, backward, merge, optimizer, average."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dmtc.core.randomness import seed_of
from dmtc.core.types import IGNORE_INDEX, Batch, StepInputs
from dmtc.engine.average import AveragedWeights
from dmtc.engine.merging import merge_step
from dmtc.losses.base import Loss, inputs_of
from dmtc.losses.terms import total_loss
from dmtc.machine.processes import ALONE, Processes
from dmtc.models import SegmentationModel


@dataclass(slots=True)
class Student:
    """A network in training, with everything its steps need.

    Attributes:
        model: The network, on its device.
        terms: Name, weight and loss of each active term.
        optimizer: Over the model's parameters; a group may have an `lr_scale`, a factor of the learning rate.
        average: Average of the model's weights, updated after every step; None for no average.
        name: Prefix of its logged values, as in "a/supervised", when several students share a step.
    """

    model: SegmentationModel
    terms: Sequence[tuple[str, float, Loss]]
    optimizer: torch.optim.Optimizer
    average: AveragedWeights | None = None
    name: str = ""

    @property
    def needs_embedding(self) -> bool:
        """Whether any term uses the projection head's embedding."""
        return any("embedding" in inputs_of(loss) for _, _, loss in self.terms)


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

    def add(self, name: str, value: Tensor, share: Tensor | float) -> None:
        """Add the value of a part of the batch, weighted by the part's share of the whole."""
        weighted = value.float() * share
        self.sums[name] = self.sums[name] + weighted if name in self.sums else weighted


class Step:
    """Takes steps: all students learn from the same batch and update at its end.

    Args:
        students: The networks to train.
        batch_size: Images in a whole batch, over all processes.
        address: Prefix of the addresses of all random draws, such as (seed, phase).
        precision: Dtype of the forward pass.
        accumulate: Number of parts to split each batch into, to fit less memory.
        drop_nonfinite: Undo steps whose loss or gradient is not finite; this makes every step wait for the device.
        processes: Processes that take the step together, each on its part of the batch. All end with the same networks.
    """

    def __init__(
        self,
        students: Sequence[Student],
        *,
        batch_size: int,
        address: tuple[object, ...],
        precision: torch.dtype = torch.float32,
        accumulate: int = 1,
        drop_nonfinite: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        self.students = students
        self.batch_size = batch_size
        self.processes = processes
        self._address = address
        self._precision = precision
        self._parts_of_batch = min(accumulate, batch_size // processes.size)
        self._drop_nonfinite = drop_nonfinite

    def __call__(self, number: int, batch: Batch, learning_rate: float) -> StepValues:
        """Take a step.

        Args:
            number: Number of the step in the phase, from 0. Random draws depend on it, not on earlier steps.
            batch: This process's part of the batch, on the students' device.
            learning_rate: Learning rate of this step.
        """
        values = StepValues()
        statistics = self._statistics() if self._drop_nonfinite else []
        for student in self.students:
            _set_rate(student.optimizer, learning_rate)
            student.optimizer.zero_grad(set_to_none=True)

        for part_number, part, share in self._parts(batch):
            for student in self.students:
                generator = self._seeded(student, part, number, part_number)
                with torch.autocast(part.image.device.type, self._precision, enabled=self._precision.itemsize < 4):
                    maps = student.model.maps(part.image, embedding=student.needs_embedding)
                    loss, logs = total_loss(student.terms, StepInputs.of(maps, part, generator))
                (loss * share).backward()
                for name, value in {"loss": loss.detach(), **_named(student, logs)}.items():
                    values.add(name, value, share)

        for student in self.students:
            merge_step(student.model, self.processes)
        values.gradient_norm = _gradient_norm(self.students)

        if self._drop_nonfinite and (fault := self._fault(values)):
            self._restore(statistics)
            values.fault = fault
            return values
        for student in self.students:
            student.optimizer.step()
            if student.average is not None:
                student.average.update(number + 1)
        return values

    def _seeded(self, student: Student, part: Batch, *place: int) -> torch.Generator:
        """Seed dropout from the step's address, and return the generator for the terms' random draws."""
        address = (*self._address, *([student.name] if student.name else []), *place)
        torch.manual_seed(seed_of(*address, "dropout"))
        generator = torch.Generator(part.image.device)
        generator.manual_seed(seed_of(*address, "loss"))
        return generator

    def _parts(self, batch: Batch) -> Iterator[tuple[int, Batch, Tensor | float]]:
        """Split a batch for gradient accumulation; yields each part with its number and its share of labelled pixels.

        Weighted by these shares, the parts' mean losses add up to the batch's mean loss, whichever pixels are ignored.
        With n processes each already holds every n-th image of the batch, and their parts together are those that one
        process would split the batch into.
        """
        count, processes = self._parts_of_batch, self.processes
        if count == processes.size == 1:
            yield 0, batch, 1.0
            return
        total = processes.all_reduce((batch.label != IGNORE_INDEX).sum()).clamp(min=1)
        for first in range(count):
            # Strided, so each part has both labelled and pseudo-labelled images.
            part = batch.take(slice(first, None, count))
            yield processes.rank + processes.size * first, part, (part.label != IGNORE_INDEX).sum() / total

    def _fault(self, values: StepValues) -> str | None:
        """Say what is not finite, if anything; waits for the device and the other processes."""
        loss = float(self.processes.all_reduce(values.sums["loss"].clone()))
        return nonfinite(loss, float(values.gradient_norm))

    def _statistics(self) -> list[list[Tensor]]:
        """Copies of the running statistics, into which a dropped forward pass may bring NaN."""
        return [[buffer.clone() for buffer in student.model.buffers()] for student in self.students]

    def _restore(self, statistics: list[list[Tensor]]) -> None:
        for student, before in zip(self.students, statistics, strict=True):
            for buffer, value in zip(student.model.buffers(), before, strict=True):
                buffer.copy_(value)


def nonfinite(loss: float, gradient_norm: float, of: str = "") -> str | None:
    """Say which value of a step is infinite or NaN; None if neither is."""
    if not math.isfinite(loss):
        return f"the loss{of} is {loss}"
    return None if math.isfinite(gradient_norm) else f"the gradient's norm{of} is {gradient_norm}"


def _set_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("lr_scale", 1.0)


def _named(student: Student, logs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{student.name}/{name}": value for name, value in logs.items()} if student.name else logs


def _gradient_norm(students: Sequence[Student]) -> Tensor:
    groups = (group for student in students for group in student.optimizer.param_groups)
    gradients = [parameter.grad for group in groups for parameter in group["params"] if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)
