"""Earlier states of the student as teachers (PrevMatch): which are kept, which are drawn, and how much they count."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dmtc.core.errors import ConfigError


@dataclass(frozen=True)
class SnapshotDraw:
    """The snapshots that label a step.

    Attributes:
        steps: The steps after which they were taken, each once.
        weights: Of their logits, as many, above 0; the sum is 1.
    """

    steps: tuple[int, ...]
    weights: tuple[float, ...]

    def ensemble(self, logits: Mapping[int, Tensor]) -> Tensor:
        """The weighted sum of the snapshots' logits, given by the step: of their shape, without gradient."""
        each = [weight * logits[step].detach() for step, weight in zip(self.steps, self.weights, strict=True)]
        return torch.stack(each).sum(0)


@dataclass(frozen=True, kw_only=True)
class Snapshots:
    """Which states of the student are kept as snapshots, and which of them label a step.

    A snapshot is taken every so many steps. All answers follow from the number of the step and the generator, so a run
    that is resumed needs no record beside the snapshots themselves.

    Args:
        interval: Steps between two snapshots, at least 1.
        most: The number kept, the newest ones, at least 1.
        drawn: The most that label one step, at least 1: their number is uniform on 1, ..., `drawn`, or as many as there
            are.

    Raises:
        ConfigError: A number is below 1.

    Source: PrevMatch (Shin et al., WACV 2025), with 8 (COCO, ADE20K: 5) and 3; deviation: snapshots come at fixed steps
    instead of at every new best score on the validation images, whose labels would steer the training.

    Examples:
        >>> snapshots = Snapshots(interval=100, most=3, drawn=3)
        >>> snapshots.kept(99), snapshots.kept(250), snapshots.kept(500)
        ((), (100, 200), (300, 400, 500))
    """

    interval: int
    most: int
    drawn: int

    def __post_init__(self) -> None:
        for name in ("interval", "most", "drawn"):
            if getattr(self, name) < 1:
                raise ConfigError(f"snapshots.{name} should be at least 1, but is {getattr(self, name)!r}")

    def due(self, done: int) -> bool:
        """Whether a snapshot is taken after so many steps."""
        return done > 0 and done % self.interval == 0

    def kept(self, done: int) -> tuple[int, ...]:
        """The steps whose snapshots are there after so many steps, the oldest first."""
        newest = done // self.interval
        return tuple(number * self.interval for number in range(max(1, newest - self.most + 1), newest + 1))

    def draw(self, done: int, generator: np.random.Generator) -> SnapshotDraw | None:
        """Draw the snapshots that label a step, and weights from the flat Dirichlet distribution; None before any.

        Args:
            done: The steps that are done.
            generator: Of an address that only this step has.
        """
        kept = self.kept(done)
        if not kept:
            return None
        number = int(generator.integers(1, min(self.drawn, len(kept)) + 1))
        chosen = generator.choice(len(kept), size=number, replace=False)
        weights = generator.dirichlet(np.ones(number))
        return SnapshotDraw(tuple(kept[index] for index in chosen), tuple(weights.tolist()))


@dataclass(frozen=True, kw_only=True)
class SnapshotRule:
    """Like `Snapshots`, for phases of any length.

    Attributes:
        interval: Share of a phase between two snapshots, in (0, 1).
        most: See `Snapshots`.
        drawn: See `Snapshots`.
    """

    interval: float
    most: int
    drawn: int

    def __post_init__(self) -> None:
        if not 0 < self.interval < 1:
            raise ConfigError(f"teacher.snapshots.interval should be a share in (0, 1), but is {self.interval!r}")
        self.of(1)

    def of(self, steps: int) -> Snapshots:
        """The snapshots of a phase of so many steps."""
        return Snapshots(interval=max(1, round(self.interval * steps)), most=self.most, drawn=self.drawn)


def triangle(progress: float) -> float:
    """A weight that rises from 0 to 1 in the first half of a phase and falls to 0 in the second.

    Args:
        progress: The done share of the phase, in [0, 1].

    Source: PrevMatch's weight of the earlier students' labels; deviation: linear in steps instead of epochs.

    Examples:
        >>> [triangle(progress) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    return 1 - abs(2 * progress - 1)
