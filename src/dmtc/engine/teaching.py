"""Labels of a step's unlabelled images, by a teacher within the step."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX, Batch, Labels, Maps
from dmtc.engine.passes import LABELLED, WEAK, Block, Outputs, shown
from dmtc.engine.rows import Draw, Rows
from dmtc.engine.student import Student
from dmtc.evaluation.predictors import with_views
from dmtc.losses.base import upsample
from dmtc.losses.selection import ClassShare, Pixels
from dmtc.losses.terms import Target
from dmtc.machine.processes import ALONE, Processes
from dmtc.models.correlation import correlated_regions
from dmtc.pseudo.context import ImageContext
from dmtc.pseudo.snapshots import SnapshotDraw
from dmtc.pseudo.teachers import Learner, Teacher, Voter


@dataclass(frozen=True, slots=True)
class Taught:
    """The rows of a step with the teacher's labels, for one student.

    Attributes:
        weak: The unlabelled images.
        extra: Their partners, if there are any.
        labelled: The labelled images, if any term takes the teacher's labels of them.
    """

    weak: Batch
    extra: Batch | None = None
    labelled: Batch | None = None


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """How a step labels images.

    Attributes:
        teacher: Whose labels they are.
        share: Share of every class that is kept, the most confident first, in (0, 1]; None keeps everything.
        context: How the whole image decides about each pixel's label; None: not at all.
        target: Which labels of labelled images the terms take.
        entropy: Whether the teacher's entropy is kept.
        logits: Whether the teacher's logits are kept, at the size of the images.
        precision: Dtype of the forward pass.
        processes: Processes among which the batch is divided.
    """

    teacher: Teacher
    share: float | None = None
    context: ImageContext | None = None
    target: Target = "own"
    entropy: bool = False
    logits: bool = False
    precision: torch.dtype = torch.float32
    processes: Processes

    @property
    def follows_students(self) -> bool:
        """Whether the labels come from the students' own passes over the weak views."""
        return self.teacher.in_step and self.teacher.runs == "student"

    def ahead(self, rows: Rows, students: Sequence[Learner]) -> list[Taught]:
        """Label all rows before the students' passes, for each student.

        If the labels come from the students' own passes, only the partners are labelled: by a pass of the teacher in
        evaluation mode.
        """
        return [self._ahead(rows, student, students) for student in range(len(students))]

    def by_students(self, rows: Rows, taught: Sequence[Taught], outputs: Sequence[Outputs]) -> list[Taught]:
        """Label all rows by the students' own passes, for each student."""
        return [
            replace(
                each, weak=self._by(each.weak, WEAK, index, outputs), labelled=self._labelled_by(rows, index, outputs)
            )
            for index, each in enumerate(taught)
        ]

    def with_regions(
        self, taught: Sequence[Taught], students: Sequence[Student], outputs: Sequence[Outputs], draw: Draw
    ) -> list[Taught]:
        """Add the regions of alike pixels of the weak views, by each student's own pass over them."""
        return [
            replace(each, weak=self._with_regions(each.weak, student.regions, seen, draw)) if student.regions else each
            for each, student, seen in zip(taught, students, outputs, strict=True)
        ]

    def _with_regions(self, weak: Batch, count: int, seen: Outputs, draw: Draw) -> Batch:
        maps = seen.of([WEAK]) if weak.ids else None
        if maps is None or maps.alike is None or maps.correlated is None:
            return weak
        cells, size = maps.correlated.shape[-2:], weak.image.shape[-2:]
        regions = correlated_regions(
            maps.alike, (cells[0], cells[1]), (size[0], size[1]), count, draw("regions", str(count))
        )
        return replace(weak, regions=regions)

    def by_snapshots(
        self, rows: Rows, taught: Sequence[Taught], students: Sequence[Student], done: int, draw: Draw
    ) -> list[Taught]:
        """Add the labels of earlier states of each student, once there are any and if any term takes them.

        Args:
            rows: The rows of the step.
            taught: Their labels so far.
            students: The students.
            done: The steps that are done.
            draw: For the draw of the states.
        """
        return [
            self._by_snapshots(rows, each, student, student.snapshots.draw(done, draw("snapshots", student.name)))
            if student.snapshots is not None and rows.counts[0]
            else each
            for each, student in zip(taught, students, strict=True)
        ]

    def of_whole(self, batch: Batch, student: int, students: Sequence[Learner]) -> Batch:
        """The labels of whole images for a student, all of them kept, by passes in evaluation mode.

        For reports: this process labels by itself.
        """
        return replace(self, share=None, logits=False, processes=ALONE)._pass(batch, student, students, training=False)

    def _ahead(self, rows: Rows, student: int, students: Sequence[Learner]) -> Taught:
        if not self.teacher.in_step or not rows.counts[0]:
            return Taught(rows.weak, rows.extra)
        if self.follows_students:
            return Taught(rows.weak, None if rows.extra is None else self._pass(rows.extra, student, students, False))
        training = self.teacher.runs == "train"
        weak = self._pass(rows.weak, student, students, training)
        extra = None if rows.extra is None else self._pass(rows.extra, student, students, training)
        if self.target == "own":
            return Taught(weak, extra)
        return Taught(weak, extra, self._pass(self._to_teach(rows.labelled), student, students, training))

    @torch.no_grad()
    def _pass(self, batch: Batch, student: int, students: Sequence[Learner], training: bool) -> Batch:
        """Label images by a pass of the teacher's own."""
        if not batch.ids:
            return batch
        voters = [(voter, students[voter.student]) for voter in self.teacher.voters(student, len(students))]
        scales, flip = self.teacher.seen_at

        def said_by(voter: Voter, learner: Learner, images: Tensor) -> Tensor:
            return self._maps(images, learner, voter.in_place(learner), training).logits

        looks = [with_views(partial(said_by, voter, learner), flip, scales) for voter, learner in voters]
        return self._with_labels(batch, [look(batch.image) for look in looks])

    def _by_snapshots(self, rows: Rows, taught: Taught, student: Student, drawn: SnapshotDraw | None) -> Taught:
        if drawn is None:
            return taught

        def seconded(own: Batch, padded: Batch) -> Batch:
            labelled = self._pass_of_snapshots(padded, student, drawn)
            return replace(own, second=Labels(labelled.label, labelled.confidence))

        extra = None if taught.extra is None or rows.extra is None else seconded(taught.extra, rows.extra)
        return replace(taught, weak=seconded(taught.weak, rows.weak), extra=extra)

    @torch.no_grad()
    def _pass_of_snapshots(self, batch: Batch, student: Student, drawn: SnapshotDraw) -> Batch:
        """Label images by the weighted sum of the logits of earlier states of a student."""
        if not batch.ids:
            return batch
        assert student.snapshots is not None
        logits = {step: self._logits(batch, student, student.snapshots.in_place(step), False) for step in drawn.steps}
        return self._with_labels(batch, [drawn.ensemble(logits)])

    @torch.no_grad()
    def seeing(
        self,
        groups: Sequence[tuple[Block, ...]],
        blocks: Mapping[Block, Batch],
        student: int,
        students: Sequence[Student],
    ) -> Outputs | None:
        """Maps of the teacher's passes over what a student sees, in the teacher's own mode; None if there are none.

        Of several networks that label together, the first one counts.

        Args:
            groups: The blocks of each pass.
            blocks: Images of each block.
            student: Number of the student.
            students: All of them.
        """
        if not self.teacher.in_step or not groups:
            return None
        seen, voter = Outputs(), self.teacher.voters(student, len(students))[0]
        for group in groups:
            counts = {shown(block): len(blocks[block].ids) for block in group if block in blocks and blocks[block].ids}
            if not counts:
                continue
            images = torch.cat([blocks[block].image for block in counts])
            learner, training = students[voter.student], self.teacher.runs == "train"
            maps = self._maps(images, learner, voter.in_place(learner), training, students[student].needs_embedding)
            seen.add(counts, maps)
        return seen

    def _logits(self, batch: Batch, learner: Learner, place: AbstractContextManager[None], training: bool) -> Tensor:
        return self._maps(batch.image, learner, place, training).logits

    def _maps(
        self,
        images: Tensor,
        learner: Learner,
        place: AbstractContextManager[None],
        training: bool,
        embedding: bool = False,
    ) -> Maps:
        """The maps of a network with some weights in place."""
        with ExitStack() as stack:
            stack.enter_context(place)
            learner.model.train(training)
            stack.callback(learner.model.train)
            device = images.device.type
            stack.enter_context(torch.autocast(device, self.precision, enabled=self.precision.itemsize < 4))
            return learner.model.maps(images, embedding=embedding)

    def _by(self, batch: Batch, block: str, student: int, outputs: Sequence[Outputs]) -> Batch:
        voters = self.teacher.voters(student, len(outputs))
        return self._with_labels(batch, [outputs[voter.student].of([block]).logits for voter in voters])

    def _labelled_by(self, rows: Rows, student: int, outputs: Sequence[Outputs]) -> Batch | None:
        return None if self.target == "own" else self._by(self._to_teach(rows.labelled), LABELLED, student, outputs)

    def _to_teach(self, batch: Batch) -> Batch:
        """The labelled images, with a label wherever the teacher's is to stand."""
        return replace(batch, label=torch.zeros_like(batch.label)) if self.target == "teacher_everywhere" else batch

    @torch.no_grad()
    def _with_labels(self, batch: Batch, logits: Sequence[Tensor]) -> Batch:
        """The batch labelled by the mean probabilities of logits (B, C, h, w); padding stays without a label."""
        size = (batch.label.shape[-2], batch.label.shape[-1])
        # One image at a time, as the full-size probabilities of all classes are large.
        images = zip((batch.label != IGNORE_INDEX).split(1), *(each.detach().split(1) for each in logits), strict=True)
        said = [self._said([upsample(each, size) for each in of_one], valid) for valid, *of_one in images]
        label, confidence, entropy, full = (_stacked(parts) for parts in zip(*said, strict=True))
        assert label is not None
        assert confidence is not None
        label = label.masked_fill(batch.label == IGNORE_INDEX, IGNORE_INDEX)
        if self.share is not None and self.share < 1:
            surest = ClassShare(start=self.share, end=self.share)
            kept = surest(Pixels(label, confidence, num_classes=logits[0].shape[1], processes=self.processes))
            label = label.masked_fill(~kept, IGNORE_INDEX)
        return replace(
            batch,
            label=label,
            confidence=confidence,
            is_pseudo=torch.ones_like(batch.is_pseudo),
            entropy=entropy,
            logits=full,
        )

    def _said(self, logits: Sequence[Tensor], valid: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Label, confidence, entropy and logits by mean probabilities of full-size logits; None: not kept.

        Args:
            logits: Of one image, float (1, C, H, W) for each network.
            valid: Which pixels are not padding, bool (1, H, W).
        """
        log = logits[0]
        if len(logits) > 1:
            log = torch.stack([each.log_softmax(dim=1) for each in logits]).exp().mean(dim=0).log()
        if self.context is not None:
            log = self.context(log, valid)
        highest, label = log.max(dim=1)
        total = log.logsumexp(dim=1)
        entropy = torch.special.entr((log - total.unsqueeze(1)).exp()).sum(dim=1) if self.entropy else None
        return label, (highest - total).exp(), entropy, log if self.logits else None


def _stacked(parts: Sequence[Tensor | None]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.cat(present) if present else None
