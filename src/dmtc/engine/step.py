"""One training step, written like a paper's algorithm.

The teacher labels, views are mixed, forward, terms, backward, merge, optimizer, the teacher follows.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from dmtc.core.errors import ConfigError
from dmtc.core.randomness import generator_of, seed_of
from dmtc.core.types import Batch
from dmtc.engine.merging import merge_step
from dmtc.engine.passes import (
    LABELLED,
    PERTURBED,
    WEAK,
    Block,
    Evaluated,
    Outputs,
    Places,
    groups_of,
    part_of,
    seconded_block,
    strong,
    taught_block,
    valid_pixels,
)
from dmtc.engine.rows import Draw, Rows, ViewMaker
from dmtc.engine.showing import Showing
from dmtc.engine.step_values import StepValues, nonfinite
from dmtc.engine.student import Student
from dmtc.engine.teaching import Taught, Teaching
from dmtc.losses.base import inputs_of
from dmtc.losses.terms import Target, total_loss
from dmtc.machine.processes import ALONE, Processes


class Step:
    """Takes steps: all students learn from the same batch and update at its end.

    Args:
        students: The networks to train.
        batch_size: Images in a whole batch, over all processes.
        address: Prefix of the addresses of all random draws, such as (seed, phase).
        showing: What the students see; by default the batch as it is.
        precision: Dtype of the forward pass.
        accumulate: Number of parts to split each batch into, to fit less memory.
        drop_nonfinite: Undo steps whose loss or gradient is not finite; this makes every step wait for the device.
        processes: Processes that take the step together, each on its part of the batch. All end with the same networks.

    Raises:
        ConfigError: The batch is to be split, but labels come from the students' own pass over all of it.
    """

    def __init__(
        self,
        students: Sequence[Student],
        *,
        batch_size: int,
        address: tuple[object, ...],
        showing: Showing | None = None,
        precision: torch.dtype = torch.float32,
        accumulate: int = 1,
        drop_nonfinite: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        self.students = students
        self.batch_size = batch_size
        self.processes = processes
        self.showing = showing or Showing()
        self._address = address
        self._precision = precision
        self._parts = min(accumulate, batch_size // processes.size)
        self._drop_nonfinite = drop_nonfinite
        self._views = views = self.showing.views
        self._strong = views.strong
        self._passes = [[block for name in names for block in self._blocks_of(name)] for names in views.passes]
        self._maker = ViewMaker(views, self.showing.mixer, processes)
        terms = [term for student in students for term in student.terms]
        needs = {need for term in terms for need in getattr(term.loss, "needs", ())} | self.showing.mixer.needs
        targets = {term.rows.target for term in terms if term.rows.on in ("labelled", "all")}
        ranked: list[Target] = ["teacher_everywhere", "teacher", "own"]
        self.teaching = Teaching(
            teacher=self.showing.teacher,
            share=self.showing.share,
            context=self.showing.context,
            target=next(target for target in ranked if target in {*targets, "own"}),
            entropy="entropy" in needs,
            logits=any("teacher_logits" in inputs_of(term.loss) for term in terms),
            precision=precision,
            processes=processes,
        )
        self._early = self._passes_of_labels() if self.showing.unlabelled and self.teaching.follows_students else 0
        if self._early and self._parts > 1:
            raise ConfigError(
                "run.accumulate should be 1 with teacher.mode=student: labels come from the pass over the whole batch"
            )

    def __call__(self, number: int, batch: Batch, learning_rate: float, progress: float = 0.0) -> StepValues:
        """Take a step.

        Args:
            number: Number of the step in the phase, from 0. Random draws depend on it, not on earlier steps.
            batch: This process's part of the batch, on the students' device; unlabelled images first, then their
                partners, then labelled ones.
            learning_rate: Learning rate of this step.
            progress: The done share of the phase, in [0, 1).
        """
        statistics = self._statistics() if self._drop_nonfinite else []
        for student in self.students:
            _set_rate(student.optimizer, learning_rate)
            student.optimizer.zero_grad(set_to_none=True)

        values = self.backward(number, batch, progress)
        for student in self.students:
            merge_step(student.model, self.processes)
        values.gradient_norm = _gradient_norm(self.students)

        if self._drop_nonfinite and (fault := self._fault(values)):
            self._restore(statistics)
            self._take_snapshots(number)
            values.fault = fault
            return values
        for student in self.students:
            student.optimizer.step()
            if student.average is not None:
                student.average.update(number + 1)
        self._take_snapshots(number)
        return values

    def train(self) -> None:
        """Put all networks in training mode."""
        for student in self.students:
            student.model.train()

    def backward(self, number: int, batch: Batch, progress: float = 0.0) -> StepValues:
        """Add this process's gradients of a step to those of the students; for the arguments see `__call__`."""
        values, draw = StepValues(), partial(generator_of, *self._address, number)
        rows, outputs, taught = self._taught(number, batch, draw)
        views = [self._views_of(rows, each, draw, self._maker) for each in taught]

        for index, (student, blocks, early) in enumerate(zip(self.students, views, outputs, strict=True)):
            totals = self._totals(student, blocks)
            for part_number in range(self._parts):
                ahead = len(batch.ids) - len(rows.labelled.ids)
                part = part_of(blocks, part_number, self._parts, ahead)
                places = rows.places.part(part_number, self._parts, ahead)
                seen = early if self._early else Outputs()
                place = self.processes.rank + self.processes.size * part_number
                generator = self._seeded(student, batch, number, place)
                with self._autocast(batch):
                    theirs = self._seen_by_teacher(index, part)
                    self._show(student, self._passes[self._early :], part, seen, draw, places)
                    evaluated = Evaluated(part, seen, self._strong, generator, progress, self.processes, totals, theirs)
                    loss, logs = total_loss(student.terms, evaluated)
                (loss if loss.requires_grad else loss + seen.anchor()).backward()
                own = _named(student, {"loss": loss.detach(), **logs})
                for name, value in ({"loss": loss.detach()} | own).items():
                    values.add(name, value)
        return values

    def views(self, number: int, batch: Batch, mixed: bool = True) -> list[dict[Block, Batch]]:
        """What each student learns from in a step, by blocks of rows; for looking at it.

        Networks that label in training mode change their running statistics.

        Args:
            number: Number of the step in the phase, from 0.
            batch: As for `__call__`.
            mixed: Whether strong views are mixed.
        """
        draw = partial(generator_of, *self._address, number)
        rows, _, taught = self._taught(number, batch, draw)
        maker = self._maker if mixed else self._maker.unmixed()
        return [self._views_of(rows, each, draw, maker) for each in taught]

    def _taught(self, number: int, batch: Batch, draw: Draw) -> tuple[Rows, list[Outputs], list[Taught]]:
        """The rows of a step, those passes that labels come from, and the labels for each student."""
        rows = self._rows(batch)
        taught = self.teaching.ahead(rows, self.students)
        taught = self.teaching.by_snapshots(rows, taught, self.students, number, draw)
        outputs = [Outputs() for _ in self.students]
        if self._early:
            self._show_early(rows, outputs, batch, number, draw)
            taught = self.teaching.by_students(rows, taught, outputs)
            taught = self.teaching.with_regions(taught, self.students, outputs, draw)
        return rows, outputs, taught

    def _blocks_of(self, name: str) -> list[Block]:
        """The blocks of a pass's rows."""
        return ([strong(each) for each in range(self._strong)] or [WEAK]) if name == "unlabelled" else [name]

    def _passes_of_labels(self) -> int:
        """Number of passes up to the one over the weak views."""
        return 1 + next(number for number, names in enumerate(self._passes) if WEAK in names)

    def _rows(self, batch: Batch) -> Rows:
        showing = self.showing
        return Rows.of(batch, showing.unlabelled, showing.extra, self.batch_size + showing.extra, self.processes)

    def _show_early(self, rows: Rows, outputs: Sequence[Outputs], batch: Batch, number: int, draw: Draw) -> None:
        """The passes of all students that the labels come from."""
        blocks = {LABELLED: self._maker.labelled(rows, draw), WEAK: rows.weak}
        for student, seen in zip(self.students, outputs, strict=True):
            self._seeded(student, batch, number, self.processes.rank, "labels")
            with self._autocast(batch):
                self._show(student, self._passes[: self._early], blocks, seen, draw, rows.places)

    def _views_of(self, rows: Rows, taught: Taught, draw: Draw, maker: ViewMaker) -> dict[Block, Batch]:
        """Images and labels of each view of a student."""
        blocks = {LABELLED: maker.labelled(rows, draw)}
        if rows.counts[0]:
            blocks |= {WEAK: taught.weak, PERTURBED: taught.weak}
        if taught.labelled is not None:
            blocks[taught_block(LABELLED)] = taught.labelled
        if self._strong and rows.counts[0]:
            views = maker.strong(rows, taught.weak, taught.extra, draw)
            blocks |= {strong(each): view for each, view in enumerate(views)}
        seconded = {name: batch for name, batch in blocks.items() if batch.second is not None}
        return blocks | {seconded_block(name): batch.seconded() for name, batch in seconded.items()}

    def _show(
        self,
        student: Student,
        passes: Sequence[Sequence[Block]],
        blocks: Mapping[Block, Batch],
        seen: Outputs,
        draw: Draw,
        places: Places,
    ) -> None:
        for names in passes:
            rng = draw("perturbation", names[0])
            student.forward(names, blocks, seen, self._views.perturbation, rng, places)

    def _seen_by_teacher(self, index: int, blocks: Mapping[Block, Batch]) -> Outputs | None:
        """The teacher's maps of what a student sees, if any term takes them."""
        rows = dict.fromkeys(self.students[index].compared)
        groups = [group for each in rows for group in groups_of(each, self._strong)]
        return self.teaching.seeing(groups, blocks, index, self.students)

    def _totals(self, student: Student, blocks: Mapping[Block, Batch]) -> dict[tuple[Block, ...], Tensor] | None:
        """Labelled pixels of the whole batch for each group of rows that a term is of; None if it has one part."""
        if self._parts == 1:
            return None
        groups = sorted({group for term in student.terms for group in groups_of(term.rows, self._strong)})
        counts = torch.stack(
            [
                sum((valid_pixels(blocks[block]) for block in group if block in blocks), start=torch.zeros(()))
                for group in groups
            ]
        )
        return dict(zip(groups, self.processes.all_reduce(counts).clamp(min=1), strict=True))

    def _autocast(self, batch: Batch) -> torch.autocast:
        return torch.autocast(batch.image.device.type, self._precision, enabled=self._precision.itemsize < 4)

    def _seeded(self, student: Student, batch: Batch, *place: object) -> torch.Generator:
        """Seed dropout from the step's address, and return the generator for the terms' random draws."""
        address = (*self._address, *([student.name] if student.name else []), *place)
        torch.manual_seed(seed_of(*address, "dropout"))
        generator = torch.Generator(batch.image.device)
        generator.manual_seed(seed_of(*address, "loss"))
        return generator

    def _fault(self, values: StepValues) -> str | None:
        """Say what is not finite, if anything; waits for the device and the other processes."""
        loss = float(self.processes.all_reduce(values.sums["loss"].clone()))
        return nonfinite(loss, float(values.gradient_norm))

    def _take_snapshots(self, number: int) -> None:
        for student in self.students:
            if student.snapshots is not None:
                student.snapshots.update(number + 1)

    def _statistics(self) -> list[list[Tensor]]:
        """Copies of the running statistics, into which a dropped forward pass may bring NaN."""
        return [[statistic.clone() for statistic in student.statistics()] for student in self.students]

    def _restore(self, statistics: list[list[Tensor]]) -> None:
        for student, before in zip(self.students, statistics, strict=True):
            for statistic, value in zip(student.statistics(), before, strict=True):
                statistic.copy_(value)


def _set_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("lr_scale", 1.0)


def _named(student: Student, logs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{student.name}/{name}": value for name, value in logs.items()} if student.name else logs


def _gradient_norm(students: Sequence[Student]) -> Tensor:
    groups = (group for student in students for group in student.optimizer.param_groups)
    gradients = [parameter.grad for group in groups for parameter in group["params"] if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)
