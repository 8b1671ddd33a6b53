"""Who labels the unlabelled images: an earlier phase, or a teacher within the step.

A teacher within the step is a choice of networks whose mean probabilities label the images: the student itself, its
moving average, or the other networks that learn in the same step.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from dmtc.core.class_counts import ClassCounts
from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry, argument_faults, raise_faults
from dmtc.models import SegmentationModel
from dmtc.pseudo.context import ImageContext
from dmtc.pseudo.snapshots import SnapshotRule

Pass = Literal["eval", "train", "student"]
"""A teacher's forward pass: its own without gradient, in evaluation or training mode, or that of the student's step."""

MAX_SCALE = 4.0
"""Of the scales at which a teacher sees images: sixteen times the cost of a pass."""

Scored = Literal["student", "average"]
"""Which weights of a student are scored, saved and passed on, if an average is kept."""


class Average(Protocol):
    """The average of a network's weights (see `dmtc.engine.average`)."""

    def in_place(self) -> AbstractContextManager[None]:
        """Swap the average into the network for the duration of the context."""
        ...


class Learner(Protocol):
    """What a teacher needs of a student."""

    @property
    def model(self) -> SegmentationModel:
        """Its network."""
        ...

    @property
    def average(self) -> Average | None:
        """The average of its weights, if one is kept."""
        ...


@dataclass(frozen=True, slots=True)
class Voter:
    """One network that takes part in labelling.

    Attributes:
        student: Index of the student whose network it is.
        averaged: Whether the average of its weights labels, instead of the weights.
    """

    student: int
    averaged: bool = False

    def in_place(self, learner: Learner) -> AbstractContextManager[None]:
        """Put the weights that label into the network for the duration of the context."""
        if not self.averaged:
            return nullcontext()
        assert learner.average is not None, "a teacher that is an average has a decay"
        return learner.average.in_place()


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """Who labels the unlabelled images of a phase. Subclass it and register the subclass in `TEACHERS`.

    Attributes:
        decay: Of the moving average that is kept of each student's weights, in (0, 1); None keeps none.
        copy_steps: Number of first steps of a phase during which the average is a copy of the student.
        warmup: Whether the average starts as the plain mean of the steps, so that the decay of step t (from 1) is at
            most 1 - 1 / t.
        buffers: Whether running statistics of batch normalization are averaged, or are the average's own, moved by its
            own passes in training mode.
        score: Which weights are scored, saved and passed on to later phases, if an average is kept.
        snapshots: Options of a `SnapshotRule`, if earlier states of each student label its images, too; terms take
            these labels by `target: snapshots`.
    """

    in_step: ClassVar[bool] = True
    networks: ClassVar[int] = 1

    decay: float | None
    copy_steps: int
    warmup: bool
    buffers: Literal["average", "own"]
    score: Scored
    snapshots: dict[str, Any] | None

    def __post_init__(self) -> None:
        faults = []
        if self.snapshots is not None:
            faults += argument_faults(SnapshotRule, self.snapshots, "teacher.snapshots")
            faults += [] if faults else _faults_of(self.snapshots)
        if self.decay is not None and not 0 < self.decay < 1:
            faults.append(
                f"teacher.decay should be a number between 0 and 1, such as 0.99, or null, but is {self.decay}"
            )
        if self.copy_steps < 0:
            faults.append(f"teacher.copy_steps should be at least 0, but is {self.copy_steps}")
        raise_faults(faults)

    @property
    def snapshot_rule(self) -> SnapshotRule | None:
        """Which earlier states of each student label, too."""
        return None if self.snapshots is None else SnapshotRule(**self.snapshots)

    @property
    def runs(self) -> Pass:
        """How the teacher's forward pass is done."""
        return "eval"

    @property
    def seen_at(self) -> tuple[Sequence[float], bool]:
        """Scales at which a pass of its own sees every image, and whether it also sees the mirror images."""
        return (1.0,), False

    def image_context(self, counts: Callable[[], ClassCounts]) -> ImageContext | None:
        """How the whole image decides about each pixel's label, by what the labelled masks hold; None: not at all."""
        return None

    def voters(self, student: int, students: int) -> Sequence[Voter]:
        """The networks whose mean probabilities label the images of a student, out of so many students."""
        raise NotImplementedError

    def for_stored_labels(self) -> "Teacher":
        """The same average of the student, but no labels within the step."""
        options = {name: getattr(self, name) for name in ("decay", "copy_steps", "warmup", "buffers", "score")}
        return Stored(**options, snapshots=None)


def _faults_of(snapshots: Mapping[str, Any]) -> list[str]:
    try:
        SnapshotRule(**snapshots)
    except ConfigError as error:
        return [str(error)]
    return []


TEACHERS: Registry[Teacher] = Registry("teacher")
"""The teachers for `teacher`."""


@TEACHERS.register("stored")
@dataclass(frozen=True, kw_only=True)
class Stored(Teacher):
    """Labels made by an earlier phase, as in DMT, CBST and self-training."""

    in_step: ClassVar[bool] = False

    def voters(self, student: int, students: int) -> Sequence[Voter]:
        """None: the labels are there before the step."""
        return ()


STORED = Stored(decay=None, copy_steps=0, warmup=True, buffers="average", score="average", snapshots=None)
"""Labels of an earlier phase, and no average of the student."""


@dataclass(frozen=True, kw_only=True)
class InStep(Teacher):
    """A teacher that labels within the step.

    Attributes:
        mode: Of its forward pass.
        scales: Factors of height and width at which it sees every image; the mean probabilities label.
        flip: Whether it also sees the mirror image at every scale.
        context: How far the whole image decides about each pixel's label, from 0 (not at all) to 1; see
            `dmtc.pseudo.context.ImageContext`.
    """

    mode: Pass
    scales: list[float]
    flip: bool
    context: float

    def __post_init__(self) -> None:
        super().__post_init__()
        faults = []
        if not self.scales or not all(0 < scale <= MAX_SCALE for scale in self.scales):
            faults.append(
                f"teacher.scales should be numbers above 0 and at most {MAX_SCALE}, such as [0.75, 1.25], but is"
                f" {self.scales}"
            )
        if not 0 <= self.context <= 1:
            faults.append(f"teacher.context should be a number from 0 to 1, but is {self.context}")
        if self.mode == "student" and (self.flip or self.scales != [1.0]):
            faults.append(
                "teacher.scales and teacher.flip need teacher.mode=eval or train: the student's own pass sees each"
                " image once"
            )
        raise_faults(faults)

    @property
    def runs(self) -> Pass:
        """See `Teacher`."""
        return self.mode

    @property
    def seen_at(self) -> tuple[Sequence[float], bool]:
        """See `Teacher`."""
        return self.scales, self.flip

    def image_context(self, counts: Callable[[], ClassCounts]) -> ImageContext | None:
        """See `Teacher`."""
        return ImageContext.of_labelled(counts(), self.context) if self.context else None


@TEACHERS.register("self")
@dataclass(frozen=True, kw_only=True)
class Self(InStep):
    """The student labels its own images.

    Attributes:
        mode: "student": the labels come from the student's own pass over the weak view, which is one of its passes with
            gradient; "eval" and "train": from a pass of its own without gradient.

    Source: Sohn et al. 2020 (FixMatch), section 2.
    """

    def voters(self, student: int, students: int) -> Sequence[Voter]:
        """The student itself."""
        return (Voter(student),)


@TEACHERS.register("average")
@dataclass(frozen=True, kw_only=True)
class MeanTeacher(InStep):
    """The moving average of the student's weights.

    Attributes:
        mode: Mode of its pass: evaluation, or training, in which batch normalization uses the statistics of the batch.

    Source: Tarvainen and Valpola 2017, section 2.
    """

    mode: Literal["eval", "train"]  # pyright: ignore[reportIncompatibleVariableOverride]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decay is None:
            raise ConfigError("teacher.decay should be a number between 0 and 1, such as 0.99, for teacher=average")

    def voters(self, student: int, students: int) -> Sequence[Voter]:
        """The student's average."""
        return (Voter(student, averaged=True),)


@TEACHERS.register("peer")
@dataclass(frozen=True, kw_only=True)
class Peer(InStep):
    """The other network that learns in the same step.

    Attributes:
        mode: As in `Self`.
        averaged: Whether the average of the other network labels, instead of the network; needs `decay`.
        both: Whether the mean probabilities of all networks of the step label, instead of those of the others.

    Source: Chen et al. 2021 (cross pseudo supervision), section 3.
    """

    networks: ClassVar[int] = 2

    averaged: bool
    both: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        faults = []
        if self.averaged and self.decay is None:
            faults.append("teacher.averaged=true needs teacher.decay, such as 0.99")
        if self.averaged and self.mode == "student":
            faults.append("teacher.averaged=true needs teacher.mode=eval or train: an average has no pass in the step")
        raise_faults(faults)

    def voters(self, student: int, students: int) -> Sequence[Voter]:
        """The other networks, or all of them."""
        return tuple(Voter(each, self.averaged) for each in range(students) if self.both or each != student)
