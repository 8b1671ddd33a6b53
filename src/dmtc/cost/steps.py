"""The cost of training steps of a stage."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch

from dmtc.batches.mixing import NoMixing
from dmtc.core.types import IGNORE_INDEX, Batch
from dmtc.cost.findings import Memory, StageCost, StepCost
from dmtc.cost.memory import LiveBytes, fixed_bytes, peak_bytes, reset_peak
from dmtc.cost.own_maps import by_own_maps
from dmtc.cost.timing import Timer
from dmtc.engine.components import Components
from dmtc.engine.new_step import new_student, showing_of
from dmtc.engine.showing import Showing
from dmtc.engine.step import Step
from dmtc.losses.base import Loss, inputs_of
from dmtc.losses.terms import ActiveTerm, TermRows, needs_correlation
from dmtc.models import SegmentationModel
from dmtc.pseudo.teachers import STORED
from dmtc.schedule import Phase

_PARTS = ("teacher", "teacher_maps", "correlation", "mixing", "colors")
"""The parts of a step that are measured apart."""

_FEW, _MORE = 2, 3
"""Batch sizes at which memory is counted; the difference is one image."""

Terms = Sequence[ActiveTerm]


class StageTraining:
    """Training steps of a stage, run as in the trainer, on synthetic images.

    Args:
        components: The recipe.
        models: The networks of the phases, on their device.
        phases: A phase of the stage, and those that take their steps with it.
        free: Free bytes on the device before the network was loaded; None if unknown.
        timer: Times the steps.
        crop: Height and width of the images; None for the recipe's.
    """

    def __init__(
        self,
        components: Components,
        models: Sequence[SegmentationModel],
        phases: Sequence[Phase],
        free: int | None,
        timer: Timer,
        crop: Sequence[int] | None = None,
    ) -> None:
        self._components, self._phase, self._free, self._timer = components, phases[0], free, timer
        self._crop = components.augment.crop if crop is None else crop
        names = [phase.trainee for phase in phases] if len(phases) > 1 else [""]
        self._students = [
            new_student(components, phase, model, name)
            for phase, model, name in zip(phases, models, names, strict=True)
        ]
        self._terms = self._students[0].terms
        self._showing = showing_of(components, self._phase)

    def cost(self, batches: Sequence[int], crops_per_s: float) -> StageCost:
        """Measure.

        Args:
            batches: Batch sizes to measure besides the recipe's own.
            crops_per_s: Crops per second that one process reads.
        """
        from torch.utils.flop_counter import FlopCounterMode  # imported late, as it loads triton

        memory = self.memory()
        with FlopCounterMode(display=False) as counter, self._uncompiled():
            self._step(_FEW, self._terms, self._showing_for(_FEW)).backward(0, self._batch(_FEW))
        operations = counter.get_total_flops() // _FEW
        images = self._phase.labelled_batch + self._phase.pseudo_batch
        with_embedding = [term.name for term in self._terms if _needs_embedding(term.loss)]
        own, seconds = self._timed(images, memory, self._compared(images))
        more = [self._timed(n, memory, {"all": (self._terms, self._showing_for(n))})[0] for n in batches if n != images]
        unscored = seconds.get("unscored")
        return StageCost(
            stage=self._phase.stage,
            steps=[own, *more],
            accumulate=self._components.run.accumulate,
            operations=operations,
            loss_share=None if own.seconds is None or unscored is None else max(0.0, 1 - unscored / own.seconds),
            embedding_terms=with_embedding,
            seconds_without_embedding=seconds.get("others"),
            seconds_without={name: seconds[name] for name in _PARTS if name in seconds},
            memory=memory,
            crops_per_s=crops_per_s,
        )

    def memory(self) -> Memory:
        """Count the memory of a step, from two small ones."""
        step = self._step(_FEW, self._terms, self._showing_for(_FEW))
        self._train(step, self._batch(_FEW), 1)  # allocates gradients and the optimizer's state
        few, more = (self._peak_bytes_of(images) for images in (_FEW, _MORE))
        averages = sum(student.average.bytes() for student in self._students if student.average is not None)
        averages += sum(student.snapshots.bytes() for student in self._students if student.snapshots is not None)
        own = sum(fixed_bytes(student.model, student.optimizer) for student in self._students)
        return Memory(fixed=own + averages + few - _FEW * (more - few), per_image=more - few)

    def _compared(self, images: int) -> dict[str, tuple[Terms, Showing]]:
        """The step of the recipe, and the same without one of its parts."""
        showing, terms = self._showing_for(images), self._terms
        rows = {term.rows for term in terms}
        compared = {"all": (terms, showing), "unscored": ([_unscored(each) for each in sorted(rows, key=str)], showing)}
        others = [term for term in terms if not _needs_embedding(term.loss)]
        if others and len(others) < len(terms):
            compared["others"] = (others, showing)
        alone = [by_own_maps(term) for term in terms]
        if showing.teacher.in_step and showing.teacher.runs != "student":
            compared["teacher"] = (alone, replace(showing, teacher=STORED))
        if showing.teacher.in_step and any(student.compared for student in self._students):
            compared["teacher_maps"] = (alone, showing)
        uncorrelated = [term for term in terms if not needs_correlation([term])]
        if uncorrelated and len(uncorrelated) < len(terms):
            compared["correlation"] = (uncorrelated, showing)
        if not isinstance(showing.mixer, NoMixing) and showing.unlabelled:
            compared["mixing"] = (terms, replace(showing, mixer=NoMixing()))
        if showing.views.color is not None:
            compared["colors"] = (terms, replace(showing, views=replace(showing.views, color=None, labelled=False)))
        return compared

    def _timed(
        self, images: int, memory: Memory, compared: Mapping[str, tuple[Terms, Showing]]
    ) -> tuple[StepCost, dict[str, float]]:
        """The cost of a step of some images, and its seconds in each of the compared forms."""
        device, seconds, peak = self._components.device, {}, None
        estimate = memory.estimate(math.ceil(images / self._components.run.accumulate))
        # A GPU raises an error if out of memory, but on CPU the process would be killed.
        if device.type == "cuda" or self._free is None or estimate <= self._free:
            reset_peak(device)
            works = {
                name: partial(self._train, self._step(images, terms, showing), self._batch_of(images, terms, showing))
                for name, (terms, showing) in compared.items()
            }
            try:
                seconds = self._timer.each(works)
                peak = peak_bytes(device)
            except torch.OutOfMemoryError:
                for student in self._students:
                    student.model.zero_grad(set_to_none=True)
        return StepCost(images=images, seconds=seconds.get("all"), estimated_bytes=estimate, peak_bytes=peak), seconds

    def _step(self, images: int, terms: Terms, showing: Showing) -> Step:
        return Step(
            [replace(student, terms=terms) for student in self._students],
            batch_size=images,
            address=(0, self._phase.name),
            showing=showing,
            precision=self._components.precision,
            accumulate=self._components.run.accumulate,
        )

    def _train(self, step: Step, batch: Batch, count: int) -> None:
        step.train()  # scoring before left the networks in evaluation mode
        for number in range(count):
            step(number, batch, learning_rate=1e-6)

    def _peak_bytes_of(self, images: int) -> int:
        """Peak bytes allocated by a forward and backward pass; the weights' gradients already exist."""
        step, batch = self._step(images, self._terms, self._showing_for(images)), self._batch(images)
        with LiveBytes() as live, self._uncompiled():
            step.backward(0, batch)
        return live.peak

    @contextmanager
    def _uncompiled(self) -> Iterator[None]:
        """Run the networks without torch.compile, whose operations cannot be counted."""
        compiled = [(student.model, student.model.__dict__.pop("maps", None)) for student in self._students]
        try:
            yield
        finally:
            for model, maps in compiled:
                if maps is not None:
                    model.maps = maps

    def _showing_for(self, images: int) -> Showing:
        """What a step of some images shows, with about the recipe's share of unlabelled ones."""
        return replace(self._showing, unlabelled=self._unlabelled(images))

    def _unlabelled(self, images: int) -> int:
        phase = self._phase
        count = round(images * phase.pseudo_batch / (phase.labelled_batch + phase.pseudo_batch))
        return min(max(1, count), images - 1) if phase.teacher is not None and images > 1 else count

    def _batch_of(self, images: int, terms: Terms, showing: Showing) -> Batch:
        """The batch of a step; if its teacher is left out, with the maps that its terms and mixing take of one."""
        batch = self._batch(images, showing.extra)
        if showing.teacher.in_step or not self._showing.teacher.in_step:
            return batch
        needs = {need for term in terms for need in getattr(term.loss, "needs", ())} | showing.mixer.needs
        shape = (len(batch.ids), self._components.dataset.num_classes, *batch.label.shape[-2:])
        takes_logits = any("teacher_logits" in inputs_of(term.loss) for term in terms)
        logits = torch.randn(shape, device=batch.image.device) if takes_logits else None
        return replace(batch, entropy=torch.rand_like(batch.confidence) if "entropy" in needs else None, logits=logits)

    def _batch(self, images: int, extra: int | None = None) -> Batch:
        """Noise of the recipe's crop size, as the duration of a step does not depend on image content."""
        unlabelled = self._unlabelled(images)
        ahead = unlabelled + (self._showing_for(images).extra if extra is None else extra)
        rows, (height, width) = ahead + images - unlabelled, self._crop
        generator = torch.Generator().manual_seed(0)
        blocks = torch.randint(self._components.dataset.num_classes, (rows, 5, 5), generator=generator)
        label = torch.nn.functional.interpolate(blocks[:, None].float(), (height, width))[:, 0].to(torch.uint8)
        label[:, :2] = IGNORE_INDEX
        image = torch.randint(256, (rows, height, width, 3), generator=generator, dtype=torch.uint8)
        is_pseudo = torch.arange(rows) < ahead
        batch = Batch(image.permute(0, 3, 1, 2), label, torch.full(label.shape, 0.9), is_pseudo, ("noise",) * rows)
        return batch.to(self._components.device)


def _unscored(rows: TermRows) -> ActiveTerm:
    """A term that costs next to nothing, of the same images."""
    return ActiveTerm(f"mean {rows.on}", 1.0, lambda logits: logits.mean(), rows)


def _needs_embedding(loss: Loss) -> bool:
    return "embedding" in inputs_of(loss)
