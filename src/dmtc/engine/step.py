"""One step of training, which reads like a paper's algorithm: forward, terms, backward, merge, optimizer, average."""

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
    """A network that learns, with all that its steps need.

    Attributes:
        model: The network, on its device.
        terms: Name, weight and loss of each term that counts.
        optimizer: Over the model's parameters; a group may have an `lr_scale`, a factor of the learning rate.
        average: Of the model's weights, updated after every step; None keeps none.
        name: Where several students learn in one step: begins the names of its logged values, as in "a/supervised".
    """

    model: SegmentationModel
    terms: Sequence[tuple[str, float, Loss]]
    optimizer: torch.optim.Optimizer
    average: AveragedWeights | None = None
    name: str = ""

    @property
    def needs_embedding(self) -> bool:
        """Whether any term asks for the projection head's embedding."""
        return any("embedding" in inputs_of(loss) for _, _, loss in self.terms)


@dataclass(slots=True)
class StepValues:
    """What a step gives besides new weights. All tensors stay on the device.

    Attributes:
        sums: Float scalars by name: "loss" of all students, and each term's value and logs. Each process has its part.
        gradient_norm: Float scalar, over all parameters of all students: not finite if any part of it is not.
        fault: What was not finite, if that is looked for; the step then left no trace.
    """

    sums: dict[str, Tensor] = field(default_factory=dict)
    gradient_norm: Tensor = field(default_factory=lambda: torch.zeros(()))
    fault: str | None = None

    def add(self, name: str, value: Tensor, share: Tensor | float) -> None:
        """Add the value of a part of the batch, with the part's share of the whole."""
        weighted = value.float() * share
        self.sums[name] = self.sums[name] + weighted if name in self.sums else weighted


class Step:
    """Takes steps: all students learn from the same batch, and move together at its end.

    Args:
        students: The networks that learn.
        batch_size: Images of a whole batch, over all processes.
        address: Where the addresses of all random draws begin, such as (seed, phase).
        precision: Type of the forward pass.
        accumulate: Parts that each batch is split into, to fit a smaller memory.
        drop_nonfinite: Leave no trace of a step whose loss or gradient is not finite. Then every step waits for the
            device.
        processes: Which take the step together, each on its part of the batch. All have the same networks afterward.
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
            number: Steps of the phase before it. Random draws depend on it, and on no step before.
            batch: This process's part of the batch, on the students' device.
            learning_rate: Of this step.
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
        """Seed dropout by the step's address, and return the source of the terms' random draws."""
        address = (*self._address, *([student.name] if student.name else []), *place)
        torch.manual_seed(seed_of(*address, "dropout"))
        generator = torch.Generator(part.image.device)
        generator.manual_seed(seed_of(*address, "loss"))
        return generator

    def _parts(self, batch: Batch) -> Iterator[tuple[int, Batch, Tensor | float]]:
        """Split a batch for accumulation, each part with its number and its share of the labelled pixels.

        With these shares the sum of the parts' mean losses is the whole batch's mean loss, whatever is ignored where.
        Each of several processes has every n-th image of a batch already; their parts together are those that one
        process would split the batch into.
        """
        count, processes = self._parts_of_batch, self.processes
        if count == processes.size == 1:
            yield 0, batch, 1.0
            return
        total = processes.all_reduce((batch.label != IGNORE_INDEX).sum()).clamp(min=1)
        for first in range(count):
            # Every count-th image, so that each part has labelled and pseudo-labelled ones.
            part = batch.take(slice(first, None, count))
            yield processes.rank + processes.size * first, part, (part.label != IGNORE_INDEX).sum() / total

    def _fault(self, values: StepValues) -> str | None:
        """What is not finite; this waits for the device and the other processes."""
        loss = float(self.processes.all_reduce(values.sums["loss"].clone()))
        return nonfinite(loss, float(values.gradient_norm))

    def _statistics(self) -> list[list[Tensor]]:
        """Running statistics, into which a forward pass that is dropped may bring NaN."""
        return [[buffer.clone() for buffer in student.model.buffers()] for student in self.students]

    def _restore(self, statistics: list[list[Tensor]]) -> None:
        for student, before in zip(self.students, statistics, strict=True):
            for buffer, value in zip(student.model.buffers(), before, strict=True):
                buffer.copy_(value)


def nonfinite(loss: float, gradient_norm: float, of: str = "") -> str | None:
    """What of a step is infinite or NaN, in words; None if nothing is."""
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
