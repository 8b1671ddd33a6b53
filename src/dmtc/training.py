"""The one training loop: it trains any phase of any method, and knows none by name."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from dmtc.errors import TrainingError
from dmtc.losses.base import Loss, inputs_of
from dmtc.models import SegmentationModel
from dmtc.optimization import RateCurve
from dmtc.randomness import seed_of
from dmtc.schedule import Phase
from dmtc.terms import total_loss
from dmtc.types import IGNORE_INDEX, Batch, StepInputs


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How the loop runs, apart from what it trains.

    Attributes:
        seed: Of the run; every random choice's address begins with it.
        precision: Type of the forward pass.
        accumulate: Parts each batch is split into.
        log_every: Steps between two log records.
    """

    seed: int
    precision: torch.dtype
    accumulate: int
    log_every: int


@dataclass(frozen=True, slots=True)
class LoopEvents:
    """Whom the loop tells what happens.

    Attributes:
        stepped: After every step, with the number of images in it; nothing is read from the device for this.
        logged: After every `log_every` steps and the last: the step, and the mean of each value since the last time.
        evaluate: At the phase's evaluation points, with the step; the model may be used freely.
    """

    stepped: Callable[[int], None]
    logged: Callable[[int, dict[str, float]], None]
    evaluate: Callable[[int], None]


def train_phase(
    phase: Phase,
    model: SegmentationModel,
    batches: Iterable[Batch],
    terms: list[tuple[str, float, Loss]],
    optimizer: torch.optim.Optimizer,
    rate: RateCurve,
    settings: LoopSettings,
    events: LoopEvents,
) -> float:
    """Train one network for one phase.

    Args:
        phase: Its length, its learning rate, and when to evaluate.
        model: The network; it is left with its last weights.
        batches: One batch a step, on the model's device.
        terms: Name, weight and loss of each term that counts.
        optimizer: Over the model's parameters.
        rate: The learning rate's curve over the phase.
        settings: Seed, precision, accumulation, logging.
        events: Whom to tell.

    Returns:
        Seconds spent training, evaluations left out.

    Raises:
        TrainingError: The loss is not finite.
    """
    evaluation_steps = {round(phase.steps * (i + 1) / phase.evaluations) for i in range(phase.evaluations)}
    embedding = any("embedding" in inputs_of(loss) for _, _, loss in terms)
    clock = _Stopwatch()
    window = _Window(opened_at=0.0)
    model.train()
    for step, batch in enumerate(batches):
        learning_rate = phase.learning_rate * rate(step / phase.steps)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        torch.manual_seed(seed_of(settings.seed, phase.name, step, "dropout"))
        optimizer.zero_grad(set_to_none=True)
        for number, (part, share) in enumerate(_parts(batch, settings.accumulate)):
            generator = torch.Generator(batch.image.device)
            generator.manual_seed(seed_of(settings.seed, phase.name, step, number, "loss"))
            with torch.autocast(batch.image.device.type, settings.precision, enabled=settings.precision.itemsize < 4):
                maps = model.maps(part.image, embedding=embedding)
                inputs = StepInputs(maps.logits, maps.embedding, part.label, part.confidence, part.is_pseudo, generator)
                loss, logs = total_loss(terms, inputs)
            (loss * share).backward()
            window.add(loss.detach(), logs, share)
        optimizer.step()
        window.close_step(len(batch.ids))
        events.stepped(len(batch.ids))

        done = step + 1
        if done % settings.log_every == 0 or done == phase.steps:
            values = window.means(phase, done)
            images_per_s = window.images / (clock.seconds() - window.opened_at)
            events.logged(done, {**values, "learning_rate": learning_rate, "images_per_s": images_per_s})
            window = _Window(opened_at=clock.seconds())
        if done in evaluation_steps:
            with clock.paused():
                events.evaluate(done)
            model.train()
    return clock.seconds()


class _Stopwatch:
    """Seconds since it was made, pauses left out."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self._begun

    @contextmanager
    def paused(self) -> Iterator[None]:
        stopped_at = time.perf_counter()
        yield
        self._begun += time.perf_counter() - stopped_at


class _Window:
    """Values of the steps since the last log record; they stay on the device until they are asked for."""

    def __init__(self, opened_at: float) -> None:
        self.opened_at = opened_at
        self.images = 0
        self._open: dict[str, Tensor] = {}
        self._steps: list[dict[str, Tensor]] = []

    def add(self, loss: Tensor, logs: dict[str, Tensor], share: Tensor | float) -> None:
        for name, value in {"loss": loss, **logs}.items():
            weighted = value.float() * share
            self._open[name] = self._open[name] + weighted if name in self._open else weighted

    def close_step(self, images: int) -> None:
        self._steps.append(self._open)
        self._open = {}
        self.images += images

    def means(self, phase: Phase, done: int) -> dict[str, float]:
        """Mean of each value; this waits for the device, and is where a loss that is not finite shows."""
        names = list(self._steps[0])
        table = torch.stack([torch.stack([values[name] for name in names]) for values in self._steps]).cpu()
        wrong = (~table[:, 0].isfinite()).nonzero()
        if len(wrong):
            step = done - len(self._steps) + int(wrong[0]) + 1
            raise TrainingError(
                f"the loss of phase {phase.name} is {table[wrong[0], 0].item()} at step {step} of {phase.steps}; "
                "lower schedule.*.learning_rate, or try run.precision=float32"
            )
        return dict(zip(names, table.mean(0).tolist(), strict=True))


def _parts(batch: Batch, count: int) -> Iterator[tuple[Batch, Tensor | float]]:
    """Split a batch for accumulation, each part with its share of the labelled pixels.

    With these shares the sum of the parts' mean losses is the whole batch's mean loss, whatever is ignored where.
    """
    if count == 1:
        yield batch, 1.0
        return
    total = (batch.label != IGNORE_INDEX).sum().clamp(min=1)
    for first in range(min(count, len(batch.ids))):
        # Every count-th image, so that each part has labelled and pseudo-labelled ones.
        part = Batch(
            batch.image[first::count],
            batch.label[first::count],
            batch.confidence[first::count],
            batch.is_pseudo[first::count],
            batch.ids[first::count],
        )
        yield part, (part.label != IGNORE_INDEX).sum() / total
