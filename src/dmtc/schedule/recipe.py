"""The input of all schedules: the settings of the stages, and the number of images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dmtc.core.errors import ConfigError
from dmtc.schedule.phase import Phase
from dmtc.schedule.settings import RoundSettings, StartSettings


@dataclass(frozen=True, slots=True)
class Counts:
    """Number of training images.

    Attributes:
        labelled: Labelled images of each network, by its letter.
        unlabelled: Images that get pseudo-labels.
    """

    labelled: Mapping[str, int]
    unlabelled: int

    @property
    def for_rounds(self) -> int:
        """Images per epoch of a round: the unlabelled ones, or the labelled ones if none are unlabelled.

        In the latter case no rounds are trained, but a baseline as long as all rounds keeps about the length it has at
        splits with unlabelled images.
        """
        return self.unlabelled or max(self.labelled.values())


@dataclass(frozen=True, slots=True)
class Recipe:
    """The input of all schedules."""

    start: StartSettings
    rounds: RoundSettings
    counts: Counts
    limit_steps: int | None

    def start_phase(self, trainee: str, steps: int | None = None) -> Phase:
        """Supervised training of a network from its starting weights."""
        start = self.start
        if steps is None:
            steps = _steps("start", start.steps, start.epochs, self.counts.labelled[trainee], start.labelled_batch)
        return Phase(
            name=f"r0-{trainee}",
            stage="start",
            trainee=trainee,
            init_from=None,
            label_from=None,
            label_ratio=None,
            steps=self._limited(steps),
            learning_rate=start.learning_rate,
            labelled_batch=start.labelled_batch,
            pseudo_batch=0,
            evaluations=start.evaluations,
        )

    def round_phase(self, number: int, trainee: str, teacher: str) -> Phase:
        """Training of a network in a round, on pseudo-labels of a teacher of the previous round."""
        rounds = self.rounds
        steps = _steps("rounds", rounds.steps, rounds.epochs, self.counts.for_rounds, rounds.pseudo_batch)
        return Phase(
            name=f"r{number}-{trainee}",
            stage="rounds",
            trainee=trainee,
            init_from=f"r{number - 1}-{trainee}",
            label_from=f"r{number - 1}-{teacher}",
            label_ratio=float(rounds.label_ratios[number - 1]),
            steps=self._limited(steps),
            learning_rate=rounds.learning_rate,
            labelled_batch=rounds.labelled_batch,
            pseudo_batch=rounds.pseudo_batch,
            evaluations=rounds.evaluations,
        )

    def _limited(self, steps: int) -> int:
        return steps if self.limit_steps is None else min(steps, self.limit_steps)


def _steps(section: str, steps: int | None, epochs: float | None, images: int, batch: int) -> int:
    if steps is not None:
        return steps
    if epochs is None:
        raise ConfigError(f"schedule.{section} needs steps, epochs or root_steps")
    # Rounded up, as published loaders keep the last, smaller batch of an epoch. Here that batch is filled.
    return max(1, round(epochs * math.ceil(images / batch)))
