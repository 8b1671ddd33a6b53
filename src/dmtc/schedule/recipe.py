"""The input of all schedules: the settings of the stages, and the number of images."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from dmtc.core.errors import ConfigError
from dmtc.schedule.phase import Phase
from dmtc.schedule.settings import OnlineSettings, RoundSettings, StartSettings


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
class Labellers:
    """Who labels the unlabelled images, as far as a plan depends on it.

    Attributes:
        teacher: Name of the teacher within the step; None if an earlier phase labels all images.
        networks: Number of networks that take their steps together.
        snapshots: Whether earlier states of the networks label, too.
        student_images: (labelled, unlabelled) images per step -> images that pass forward and backward in it.
    """

    teacher: str | None = None
    networks: int = 1
    snapshots: bool = False
    student_images: Callable[[int, int], int] = lambda labelled, unlabelled: labelled + unlabelled


@dataclass(frozen=True, slots=True)
class Recipe:
    """The input of all schedules."""

    start: StartSettings
    rounds: RoundSettings
    online: OnlineSettings
    counts: Counts
    limit_steps: int | None
    labellers: Labellers

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
        return Phase(
            name=f"r{number}-{trainee}",
            stage="rounds",
            trainee=trainee,
            init_from=f"r{number - 1}-{trainee}",
            label_from=None if self.labellers.teacher else f"r{number - 1}-{teacher}",
            teacher=self.labellers.teacher,
            label_ratio=float(rounds.label_ratios[number - 1]),
            steps=self._limited(self.round_steps),
            learning_rate=rounds.learning_rate,
            labelled_batch=rounds.labelled_batch,
            pseudo_batch=rounds.pseudo_batch,
            evaluations=rounds.evaluations,
        )

    @property
    def round_steps(self) -> int:
        """Steps of a round."""
        rounds = self.rounds
        return _steps("rounds", rounds.steps, rounds.epochs, self.counts.for_rounds, rounds.pseudo_batch)

    def retraining(self, number: int, trainee: str, teacher: str, steps: int) -> Phase:
        """Training of a network from its starting weights, on all pixels that an earlier phase labels.

        Args:
            number: Of the phase among those of the network.
            trainee: Letter of the network.
            teacher: Name of the phase that labels.
            steps: Number of steps.
        """
        return Phase(
            name=f"r{number}-{trainee}",
            stage="rounds",
            trainee=trainee,
            init_from=None,
            label_from=teacher,
            label_ratio=1.0,
            steps=self._limited(steps),
            learning_rate=self.start.learning_rate,
            labelled_batch=self.rounds.labelled_batch,
            pseudo_batch=self.rounds.pseudo_batch,
            evaluations=self.rounds.evaluations,
        )

    def online_phase(self, trainee: str, budget: int, after: str | None = None) -> Phase:
        """Training of a network on labelled images and on those that a teacher labels within the step.

        Args:
            trainee: Letter of the network.
            budget: Images to pass forward and backward, if the settings give no length.
            after: Phase whose final weights it starts from; None means the network's starting weights.
        """
        online = self.online
        if online.steps is None and online.epochs is None:
            each = self.labellers.student_images(online.labelled_batch, online.unlabelled_batch)
            steps = max(1, round(budget / each))
        else:
            steps = _steps("online", online.steps, online.epochs, self.counts.for_rounds, online.unlabelled_batch)
        return Phase(
            name=f"r{0 if after is None else 1}-{trainee}",
            stage="online",
            trainee=trainee,
            init_from=after,
            label_from=None,
            teacher=self.labellers.teacher,
            label_ratio=None,
            steps=self._limited(steps),
            learning_rate=online.learning_rate,
            labelled_batch=online.labelled_batch,
            pseudo_batch=online.unlabelled_batch,
            evaluations=online.evaluations,
        )

    def together(self, phases: list[Phase]) -> list[Phase]:
        """The phases, taking their steps together if the teacher needs several networks."""
        if self.labellers.networks == 1:
            return phases
        names = tuple(phase.name for phase in phases)
        return [replace(phase, together=names) for phase in phases]

    def _limited(self, steps: int) -> int:
        return steps if self.limit_steps is None else min(steps, self.limit_steps)


def _steps(section: str, steps: int | None, epochs: float | None, images: int, batch: int) -> int:
    if steps is not None:
        return steps
    if epochs is None:
        raise ConfigError(f"schedule.{section} needs steps, epochs or root_steps")
    # Rounded up, as published loaders keep the last, smaller batch of an epoch. Here that batch is filled.
    return max(1, round(epochs * math.ceil(images / batch)))
