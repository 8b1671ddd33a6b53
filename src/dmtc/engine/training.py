"""The one training loop: it trains any phase of any method, and knows none by name."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from dmtc.engine.averaging import AveragedWeights
from dmtc.engine.merging import merge_step
from dmtc.engine.optimization import RateCurve
from dmtc.engine.terms import total_loss
from dmtc.engine.window import Window
from dmtc.losses.base import Loss, inputs_of
from dmtc.models import SegmentationModel
from dmtc.processes import ALONE, Processes
from dmtc.randomness import seed_of
from dmtc.schedule import Phase
from dmtc.types import IGNORE_INDEX, Batch, StepInputs


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How the loop runs, apart from what it trains.

    Attributes:
        seed: Of the run; every random choice's address begins with it.
        precision: Type of the forward pass.
        accumulate: Parts each batch is split into.
        log_every: Steps between two log records.
        skip_nonfinite: Drop a step whose loss or gradient is not finite, in place of stopping. Then every step waits
            for the device.
    """

    seed: int
    precision: torch.dtype
    accumulate: int
    log_every: int
    skip_nonfinite: bool = False


@dataclass(slots=True)
class LoopState:
    """What the loop must know of the steps before in order to go on; weights and optimizer are kept by the caller.

    Attributes:
        step: Steps done.
        seconds: Spent training.
        window: Values that are not logged yet.
    """

    step: int = 0
    seconds: float = 0.0
    window: Window = field(default_factory=Window)

    def state(self) -> dict[str, Any]:
        """Plain values and tensors, for a checkpoint."""
        return {"step": self.step, "seconds": self.seconds, "window": self.window.state()}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "LoopState":
        """The inverse of `state`."""
        return cls(state["step"], state["seconds"], Window.restored(state["window"]))


@dataclass(frozen=True, slots=True)
class LoopEvents:
    """Whom the loop tells what happens.

    Attributes:
        stepped: After every step, with the number of images in it; nothing is read from the device for this.
        logged: After every `log_every` steps and the last: the step, and the mean of each value since the last time.
        evaluate: At the phase's evaluation points, with the step; the model may be used freely.
        dropped: After a step that was dropped: the step, what was not finite, and the ids of its images.
        wants_save: Asked after every step whether to save now.
        save: When that is so, and before every evaluation. All losses and gradients up to here were finite.
    """

    stepped: Callable[[int], None]
    logged: Callable[[int, dict[str, float]], None]
    evaluate: Callable[[int], None]
    dropped: Callable[[int, str, tuple[str, ...]], None] = lambda step, fault, ids: None
    wants_save: Callable[[], bool] = lambda: False
    save: Callable[[LoopState], None] = lambda state: None


def train_phase(
    phase: Phase,
    model: SegmentationModel,
    batches: Iterable[Batch],
    terms: list[tuple[str, float, Loss]],
    optimizer: torch.optim.Optimizer,
    rate: RateCurve,
    settings: LoopSettings,
    events: LoopEvents,
    state: LoopState | None = None,
    processes: Processes = ALONE,
    average: AveragedWeights | None = None,
) -> float:
    """Train one network for one phase.

    Args:
        phase: Its length, its learning rate, and when to evaluate.
        model: The network; it is left with its last weights.
        batches: One batch a step, or this process's part of it, on the model's device, from the first step that is not
            done on.
        terms: Name, weight and loss of each term that counts.
        optimizer: Over the model's parameters; a group may have an `lr_scale`, a factor of the learning rate.
        rate: The learning rate's curve over the phase.
        settings: Seed, precision, accumulation, logging.
        events: Whom to tell.
        state: As it was last saved, if the phase was begun before; model and optimizer are as they were then.
        processes: Which train it together, each on its part of every batch. All have the same network after each step.
        average: Of the model's weights, brought up to date after every step; None keeps none.

    Returns:
        Seconds spent training, evaluations left out.

    Raises:
        TrainingError: A loss or gradient is not finite. It shows when values are logged, saved or about to be scored.
    """
    evaluation_steps = {round(phase.steps * (i + 1) / phase.evaluations) for i in range(phase.evaluations)}
    embedding = any("embedding" in inputs_of(loss) for _, _, loss in terms)
    state = LoopState() if state is None else state
    images = phase.labelled_batch + phase.pseudo_batch
    clock = _Stopwatch(state.seconds)
    if state.step > 0 and state.step in evaluation_steps:  # saved before, or while, it was evaluated
        with clock.paused():
            events.evaluate(state.step)
    model.train()
    for step, batch in enumerate(batches, state.step):
        learning_rate = phase.learning_rate * rate(step / phase.steps)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * group.get("lr_scale", 1.0)
        optimizer.zero_grad(set_to_none=True)
        buffers = [buffer.clone() for buffer in model.buffers()] if settings.skip_nonfinite else []
        for number, part, share in _parts(batch, min(settings.accumulate, images // processes.size), processes):
            torch.manual_seed(seed_of(settings.seed, phase.name, step, number, "dropout"))
            generator = torch.Generator(batch.image.device)
            generator.manual_seed(seed_of(settings.seed, phase.name, step, number, "loss"))
            with torch.autocast(batch.image.device.type, settings.precision, enabled=settings.precision.itemsize < 4):
                maps = model.maps(part.image, embedding=embedding)
                inputs = StepInputs(maps.logits, maps.embedding, part.label, part.confidence, part.is_pseudo, generator)
                loss, logs = total_loss(terms, inputs)
            (loss * share).backward()
            state.window.add(loss.detach(), logs, share)
        merge_step(model, processes)
        norm = _gradient_norm(optimizer)
        done = state.step = step + 1
        if settings.skip_nonfinite and (fault := state.window.fault(norm, processes)):
            _restore(model, buffers)
            state.window.drop_step(images)
            events.dropped(done, fault, tuple(id for ids in processes.gathered(batch.ids) for id in ids))
        else:
            optimizer.step()
            if average is not None:
                average.update(done)
            state.window.close_step(norm, batch.ids, images)
        events.stepped(images)

        if done % settings.log_every == 0 or done == phase.steps:
            state.window.check(phase.name, done, phase.steps, processes)
            images_per_s = state.window.images / (clock.seconds() - state.window.opened_at)
            if values := state.window.means():
                events.logged(done, {**values, "learning_rate": learning_rate, "images_per_s": images_per_s})
            state.window = Window(opened_at=clock.seconds())
        if done in evaluation_steps or events.wants_save():
            state.window.check(phase.name, done, phase.steps, processes)
            state.seconds = clock.seconds()
            with clock.paused():
                events.save(state)
        if done in evaluation_steps:
            with clock.paused():
                events.evaluate(done)
            model.train()
    assert state.step == phase.steps, f"phase {phase.name} has {phase.steps} steps, but batches for {state.step}"
    return clock.seconds()


class _Stopwatch:
    """Seconds since it was made, pauses left out, and those of earlier ones."""

    def __init__(self, seconds_before: float) -> None:
        self._begun = time.perf_counter() - seconds_before

    def seconds(self) -> float:
        return time.perf_counter() - self._begun

    @contextmanager
    def paused(self) -> Iterator[None]:
        stopped_at = time.perf_counter()
        yield
        self._begun += time.perf_counter() - stopped_at


def _parts(batch: Batch, count: int, processes: Processes) -> Iterator[tuple[int, Batch, Tensor | float]]:
    """Split a batch for accumulation, each part with its number and its share of the labelled pixels.

    With these shares the sum of the parts' mean losses is the whole batch's mean loss, whatever is ignored where. Of
    several processes, each has every so-many-th image of a batch already; their parts together are those that one
    process would split the batch into.
    """
    if count == processes.size == 1:
        yield 0, batch, 1.0
        return
    total = processes.sum((batch.label != IGNORE_INDEX).sum()).clamp(min=1)
    for first in range(count):
        # Every count-th image, so that each part has labelled and pseudo-labelled ones.
        part = batch.take(slice(first, None, count))
        yield processes.rank + processes.size * first, part, (part.label != IGNORE_INDEX).sum() / total


def _gradient_norm(optimizer: torch.optim.Optimizer) -> Tensor:
    """Over all parameters, float scalar on their device: one number that is not finite if any part of it is not."""
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)


def _restore(model: nn.Module, buffers: list[Tensor]) -> None:
    """Put back what a dropped step's forward pass has changed: the running statistics, into which NaN may have gone."""
    for buffer, before in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(before)
