"""What a recipe costs on this machine, from measured parts: time, memory, and the share of the possible speed.

Every part is measured as the run would use it (the training loop, the labelling pass, the loader) on images of the real
sizes, a few steps each. Nothing is learned and nothing is kept.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from dmtc.batches import Loader, training_requests
from dmtc.engine.assembly import Assembly
from dmtc.engine.optimization import OPTIMIZERS, RATES
from dmtc.engine.terms import terms_of_stage, total_loss
from dmtc.engine.training import LoopEvents, LoopSettings, train_phase
from dmtc.losses.base import inputs_of
from dmtc.models import SegmentationModel
from dmtc.pseudo import PseudoLabelStore, label_images
from dmtc.schedule import Phase
from dmtc.types import IGNORE_INDEX, Batch, StepInputs


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """One optimizer step of a stage.

    Attributes:
        stage: "start" or "rounds".
        images: In a step.
        seconds: Of a step, images at hand.
        loss_share: Share of the seconds in [0, 1] that the loss terms take, forward and backward.
        operations: Of the network's forward and backward pass, floating-point, multiplication and addition counted.
        fixed_bytes: Weights, gradients and what the optimizer keeps.
        bytes_per_image: Kept between forward and backward pass for each image.
        peak_bytes: Measured on CUDA; None elsewhere.
    """

    stage: str
    images: int
    seconds: float
    loss_share: float
    operations: int
    fixed_bytes: int
    bytes_per_image: int
    peak_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What was measured, and what follows for the whole plan.

    Attributes:
        steps: The stages that the plan has.
        inference: Whole images a second, network alone.
        labelling: Whole images a second, predictions stored; None if the plan never labels.
        reading: Training crops a second that one process reads.
        matrix_rate: Floating-point operations a second of a large matrix product in the run's precision.
        parts: Name, how often, and seconds each time, of all that the plan does.
    """

    steps: list[StepCost]
    inference: float
    labelling: float | None
    reading: float
    matrix_rate: float
    parts: list[tuple[str, int, float]]

    @property
    def seconds(self) -> float:
        """Of the whole plan."""
        return sum(count * each for _, count, each in self.parts)


def measure_cost(parts: Assembly, steps: int) -> Cost:
    """Measure a recipe's parts.

    Args:
        parts: Of the recipe; its data set must be there, its starting weights need not.
        steps: To time in each stage, after two that are not timed.
    """
    phases = {phase.stage: phase for phase in parts.plan}
    model = parts.model("a").to(parts.device)
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # not in torch's stubs
    measured = {stage: _step_cost(parts, model, phase, steps) for stage, phase in phases.items()}
    images = _whole_images(parts)
    inference = images.shape[0] / _seconds(parts, lambda: _predictor(parts, model)(images), steps)
    labels = any(phase.label_from for phase in parts.plan)
    labelling = images.shape[0] / _labelling_seconds(parts, model, images, steps) if labels else None
    matrix_rate = _matrix_rate(parts)

    plan: list[tuple[str, int, float]] = []
    for stage, cost in measured.items():
        plan.append((f"steps of the {stage}", sum(p.steps for p in parts.plan if p.stage == stage), cost.seconds))
    if labelling is not None:
        teachers = {phase.label_from for phase in parts.plan if phase.label_from}
        plan.append(("images to label", len(teachers) * len(parts.split.unlabelled), 1 / labelling))
    scored = sum(phase.evaluations for phase in parts.plan) + len(parts.networks)
    plan.append(("images to score", scored * len(parts.dataset.val), 1 / inference))
    return Cost(
        steps=list(measured.values()),
        inference=inference,
        labelling=labelling,
        reading=_reading_rate(parts, next(iter(phases.values()))),
        matrix_rate=matrix_rate,
        parts=plan,
    )


def _step_cost(parts: Assembly, model: SegmentationModel, phase: Phase, steps: int) -> StepCost:
    batch = _made_up_batch(parts, phase)
    terms = terms_of_stage(parts.terms, phase.stage)
    schedule = parts.config["schedule"]
    optimizer = OPTIMIZERS.build(
        schedule["optimizer"],
        "schedule.optimizer",
        parameters=[p for p in model.parameters() if p.requires_grad],
        learning_rate=1e-6,
    )
    rate = RATES.build(schedule["rate"], "schedule.rate")
    settings = LoopSettings(0, parts.precision, parts.run.accumulate, log_every=10**9)
    events = LoopEvents(lambda images: None, lambda step, values: None, lambda step: None)

    def train(count: int) -> float:
        short = replace(phase, steps=count, learning_rate=1e-6, evaluations=1)
        return train_phase(short, model, [batch] * count, terms, optimizer, rate, settings, events)

    train(2)
    if parts.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(parts.device)
    seconds = train(steps) / steps
    peak = torch.cuda.max_memory_allocated(parts.device) if parts.device.type == "cuda" else None

    part = _share_of(batch, parts.run.accumulate)
    fixed = [tensor for state in optimizer.state.values() for tensor in state.values() if isinstance(tensor, Tensor)]
    fixed += [tensor for p in model.parameters() for tensor in (p, p.grad) if tensor is not None]
    embedding = any("embedding" in inputs_of(loss) for _, _, loss in terms)
    kept = _KeptBytes(model)
    with FlopCounterMode(display=False) as counter, kept, _autocast(parts):
        maps = model.maps(part.image, embedding=embedding)
        (maps.logits.sum() + (0 if maps.embedding is None else maps.embedding.sum())).backward()

    logits, vectors = (None if x is None else x.detach().requires_grad_() for x in (maps.logits, maps.embedding))
    assert logits is not None, "every network has logits"

    generator = torch.Generator(parts.device)

    def losses() -> None:
        inputs = StepInputs(logits, vectors, part.label, part.confidence, part.is_pseudo, generator)
        total_loss(terms, inputs)[0].backward()

    with kept:
        losses()
    loss_seconds = _seconds(parts, losses, steps) * parts.run.accumulate
    return StepCost(
        stage=phase.stage,
        images=len(batch.ids),
        seconds=seconds,
        loss_share=min(1.0, loss_seconds / seconds),
        operations=counter.get_total_flops() * parts.run.accumulate,
        fixed_bytes=sum(tensor.nbytes for tensor in fixed),
        bytes_per_image=kept.bytes // len(part.ids),
        peak_bytes=peak,
    )


class _KeptBytes(saved_tensors_hooks):
    """Counts what autograd keeps for the backward pass; memory that two operations share counts once."""

    def __init__(self, model: SegmentationModel) -> None:
        own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        self.bytes = 0
        self._seen = own
        super().__init__(self._keep, lambda kept: kept)

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor


def _made_up_batch(parts: Assembly, phase: Phase) -> Batch:
    """Noise of the recipe's size: how long a step takes does not depend on what is in the pictures."""
    count, (height, width) = phase.labelled_batch + phase.pseudo_batch, parts.augment.crop
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(parts.dataset.num_classes, (count, 5, 5), generator=generator, dtype=torch.uint8)
    label = torch.nn.functional.interpolate(blocks[:, None].float(), (height, width))[:, 0].to(torch.uint8)
    label[:, :2] = IGNORE_INDEX
    image = torch.randint(256, (count, height, width, 3), generator=generator, dtype=torch.uint8)
    is_pseudo = torch.arange(count) < phase.pseudo_batch
    batch = Batch(image.permute(0, 3, 1, 2), label, torch.full(label.shape, 0.9), is_pseudo, ("noise",) * count)
    return batch.to(parts.device)


def _share_of(batch: Batch, accumulate: int) -> Batch:
    images = max(1, len(batch.ids) // accumulate)
    return Batch(
        batch.image[:images],
        batch.label[:images],
        batch.confidence[:images],
        batch.is_pseudo[:images],
        batch.ids[:images],
    )


def _whole_images(parts: Assembly) -> Tensor:
    image = torch.from_numpy(parts.dataset.image(parts.dataset.val[0])).permute(2, 0, 1)
    return image.repeat(parts.run.label_batch, 1, 1, 1).contiguous(memory_format=torch.channels_last).to(parts.device)


def _predictor(parts: Assembly, model: SegmentationModel) -> Callable[[Tensor], Tensor]:
    model.eval()

    @torch.inference_mode()
    def predict(images: Tensor) -> Tensor:
        with _autocast(parts):
            return model(images)

    return predict


def _labelling_seconds(parts: Assembly, model: SegmentationModel, images: Tensor, repeats: int) -> float:
    predict = _predictor(parts, model)

    def batches() -> Iterator[tuple[list[str], Tensor]]:
        for number in range(repeats):
            yield [f"{number}-{i}" for i in range(len(images))], images

    with tempfile.TemporaryDirectory() as folder:
        store = PseudoLabelStore(Path(folder))
        started = time.perf_counter()
        label_images(predict, batches(), store, parts.dataset.num_classes)
        return (time.perf_counter() - started) / repeats


def _reading_rate(parts: Assembly, phase: Phase) -> float:
    labelled = replace(phase, pseudo_batch=0, labelled_batch=8, steps=4)
    requests = training_requests(labelled, parts.split.subsets[phase.trainee], (), None, seed=0)
    loader = Loader(parts.dataset, parts.augment, workers=0, device=torch.device("cpu"))
    read = loader.crops(requests)
    next(read)
    started = time.perf_counter()
    count = sum(len(batch.ids) for batch in islice(read, 3))
    return count / (time.perf_counter() - started)


def _matrix_rate(parts: Assembly) -> float:
    size = 8192 if parts.device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=parts.device, dtype=parts.precision) for _ in range(2))
    return 2 * size**3 / _seconds(parts, lambda: a @ b, 10)


def _autocast(parts: Assembly) -> torch.autocast:
    return torch.autocast(parts.device.type, parts.precision, enabled=parts.precision.itemsize < 4)


def _seconds(parts: Assembly, work: Callable[[], object], repeats: int) -> float:
    """Of one call, the device waited for."""
    work()
    _wait(parts)
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    _wait(parts)
    return (time.perf_counter() - started) / repeats


def _wait(parts: Assembly) -> None:
    if parts.device.type == "cuda":
        torch.cuda.synchronize(parts.device)
