"""The cost of training steps of a stage."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX, Batch, Maps, StepInputs
from dmtc.cost.findings import Memory, StageCost, StepCost
from dmtc.cost.memory import LiveBytes, fixed_bytes, peak_bytes, reset_peak
from dmtc.cost.timing import Timer
from dmtc.engine.average import AveragedWeights
from dmtc.engine.components import Components
from dmtc.engine.step import Step, Student
from dmtc.losses.base import Loss, inputs_of
from dmtc.losses.terms import terms_of_stage, total_loss
from dmtc.models import SegmentationModel
from dmtc.schedule import OPTIMIZERS, Phase

_FEW, _MORE = 2, 3
"""Batch sizes at which memory is counted; the difference is one image."""

Terms = list[tuple[str, float, Loss]]


class StageTraining:
    """Training steps of a stage, run as in the trainer, on synthetic images.

    Args:
        components: The recipe.
        model: A network on its device.
        phase: A phase of the stage.
        free: Free bytes on the device before the network was loaded; None if unknown.
        timer: Times the steps.
        crop: Height and width of the images; None for the recipe's.
    """

    def __init__(
        self,
        components: Components,
        model: SegmentationModel,
        phase: Phase,
        free: int | None,
        timer: Timer,
        crop: Sequence[int] | None = None,
    ) -> None:
        schedule = components.config["schedule"]
        self._components, self._model, self._phase, self._free, self._timer = components, model, phase, free, timer
        self._crop = components.augment.crop if crop is None else crop
        self._terms = terms_of_stage(components.terms, phase.stage)
        self._optimizer = OPTIMIZERS.build(
            schedule["optimizer"],
            "schedule.optimizer",
            parameters=model.parameter_groups(),
            learning_rate=1e-6,
        )
        decay = schedule["ema"]
        self._average = None if decay is None else AveragedWeights(model, decay)

    def cost(self, batches: Sequence[int], crops_per_s: float) -> StageCost:
        """Measure.

        Args:
            batches: Batch sizes to measure besides the recipe's own.
            crops_per_s: Crops per second that one process reads.
        """
        from torch.utils.flop_counter import FlopCounterMode  # imported late, as it loads triton

        memory = self.memory()
        with FlopCounterMode(display=False) as counter:
            maps = self._maps(self._batch(_FEW), compiled=False)
            (maps.logits.sum() + (0 if maps.embedding is None else maps.embedding.sum())).backward()
        operations = counter.get_total_flops() // _FEW
        images = self._phase.labelled_batch + self._phase.pseudo_batch
        with_embedding = [name for name, _, loss in self._terms if _needs_embedding(loss)]
        others = [term for term in self._terms if not _needs_embedding(term[2])]
        compared = {"all": self._terms} | ({"others": others} if others and with_embedding else {})
        own, seconds = self._step(images, memory, compared)
        more = [self._step(n, memory, {"all": self._terms})[0] for n in batches if n != images]
        return StageCost(
            stage=self._phase.stage,
            steps=[own, *more],
            accumulate=self._components.run.accumulate,
            operations=operations,
            loss_share=None if own.seconds is None else min(1.0, self._loss_seconds(images) / own.seconds),
            embedding_terms=with_embedding,
            seconds_without_embedding=seconds.get("others"),
            memory=memory,
            crops_per_s=crops_per_s,
        )

    def memory(self) -> Memory:
        """Count the memory of a step, from two small ones."""
        self._train(self._batch(_FEW), self._terms, 1)  # allocates gradients and the optimizer's state
        few, more = (self._peak_bytes_of(self._batch(images)) for images in (_FEW, _MORE))
        averages = 0 if self._average is None else self._average.bytes()
        fixed = fixed_bytes(self._model, self._optimizer) + averages + few - _FEW * (more - few)
        return Memory(fixed=fixed, per_image=more - few)

    def _step(self, images: int, memory: Memory, compared: dict[str, Terms]) -> tuple[StepCost, dict[str, float]]:
        """The cost of a step of some images, and its seconds with each of the compared lists of terms."""
        device, seconds, peak = self._components.device, {}, None
        estimate = memory.estimate(math.ceil(images / self._components.run.accumulate))
        # A GPU raises an error if out of memory, but on CPU the process would be killed.
        if device.type == "cuda" or self._free is None or estimate <= self._free:
            batch = self._batch(images)
            reset_peak(device)
            works = {name: partial(self._train, batch, terms) for name, terms in compared.items()}
            try:
                seconds = self._timer.each(works)
                peak = peak_bytes(device)
            except torch.OutOfMemoryError:
                self._model.zero_grad(set_to_none=True)
        return StepCost(images=images, seconds=seconds.get("all"), estimated_bytes=estimate, peak_bytes=peak), seconds

    def _train(self, batch: Batch, terms: Terms, count: int) -> None:
        step = Step(
            [Student(self._model, terms, self._optimizer, self._average)],
            batch_size=len(batch.ids),
            address=(0, self._phase.name),
            precision=self._components.precision,
            accumulate=self._components.run.accumulate,
        )
        self._model.train()
        for number in range(count):
            step(number, batch, learning_rate=1e-6)

    def _peak_bytes_of(self, batch: Batch) -> int:
        """Peak bytes allocated by a forward and backward pass; the weights' gradients already exist."""
        with LiveBytes() as live:
            self._loss(batch, self._maps(batch, compiled=False)).backward()
        return live.peak

    def _loss_seconds(self, images: int) -> float:
        """Seconds of a step's loss terms, forward and backward, starting from the network's maps."""
        accumulate = self._components.run.accumulate
        part = self._batch(max(1, images // accumulate))
        with torch.no_grad():
            maps = self._maps(part)

        def both_passes() -> None:
            logits = maps.logits.detach().requires_grad_()
            embedding = None if maps.embedding is None else maps.embedding.detach().requires_grad_()
            self._loss(part, Maps(logits, embedding)).backward()

        return self._timer.one(both_passes) * accumulate

    def _maps(self, batch: Batch, compiled: bool = True) -> Maps:
        maps_of = self._model.maps if compiled else partial(type(self._model).maps, self._model)
        with self._autocast():
            return maps_of(batch.image, embedding=any(_needs_embedding(loss) for _, _, loss in self._terms))

    def _loss(self, batch: Batch, maps: Maps) -> Tensor:
        generator = torch.Generator(self._components.device)
        with self._autocast():
            return total_loss(self._terms, StepInputs.of(maps, batch, generator))[0]

    def _autocast(self) -> torch.autocast:
        precision = self._components.precision
        return torch.autocast(self._components.device.type, precision, enabled=precision.itemsize < 4)

    def _batch(self, images: int) -> Batch:
        """Noise of the recipe's crop size, as the duration of a step does not depend on image content."""
        phase, (height, width) = self._phase, self._crop
        generator = torch.Generator().manual_seed(0)
        blocks = torch.randint(self._components.dataset.num_classes, (images, 5, 5), generator=generator)
        label = torch.nn.functional.interpolate(blocks[:, None].float(), (height, width))[:, 0].to(torch.uint8)
        label[:, :2] = IGNORE_INDEX
        image = torch.randint(256, (images, height, width, 3), generator=generator, dtype=torch.uint8)
        pseudo = round(images * phase.pseudo_batch / (phase.labelled_batch + phase.pseudo_batch))
        is_pseudo = torch.arange(images) < pseudo
        batch = Batch(image.permute(0, 3, 1, 2), label, torch.full(label.shape, 0.9), is_pseudo, ("noise",) * images)
        return batch.to(self._components.device)


def _needs_embedding(loss: Loss) -> bool:
    return "embedding" in inputs_of(loss)
