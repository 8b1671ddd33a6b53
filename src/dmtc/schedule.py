"""Schedules: from the config to a plan, the ordered list of phases that a method consists of.

A phase trains one network once, from named starting weights, on labelled images and on the pseudo-labels of a named
teacher. The engine runs any plan and knows no method; a method is nothing but its plan and its losses.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dmtc.errors import ConfigError
from dmtc.registry import Registry, argument_faults, raise_faults

Stage = Literal["start", "rounds"]


@dataclass(frozen=True, slots=True)
class Phase:
    """One training of one network.

    Attributes:
        name: For example "r1-a": round 1, network a. Round 0 is the supervised start.
        stage: Which weights the loss terms have: those of the "start" or those of the "rounds".
        trainee: Letter of the network that is trained.
        init_from: Phase whose last weights it starts from; None means the network's starting weights.
        label_from: Phase whose last weights label the unlabelled images; None means labelled images only.
        label_ratio: Share of every class, in (0, 1], kept as pseudo-labels; None without pseudo-labels.
        steps: Optimizer steps.
        learning_rate: At the first step; the rate schedule lowers it over `steps`.
        labelled_batch: Labelled images a step.
        pseudo_batch: Pseudo-labelled images a step.
        evaluations: How often the validation images are scored; the last time is after the last step.
    """

    name: str
    stage: Stage
    trainee: str
    init_from: str | None
    label_from: str | None
    label_ratio: float | None
    steps: int
    learning_rate: float
    labelled_batch: int
    pseudo_batch: int
    evaluations: int

    @property
    def scored_after(self) -> set[int]:
        """Steps after which the validation images are scored, evenly spread, the last step among them."""
        return {round(self.steps * (i + 1) / self.evaluations) for i in range(self.evaluations)}


@dataclass(frozen=True, slots=True)
class StartSettings:
    """Lengths and rates of the supervised start; an epoch counts the labelled images.

    `root_steps` is replaced by steps before a plan is made, see `dmtc.lengths`.
    """

    epochs: float | None
    steps: int | None
    learning_rate: float
    labelled_batch: int
    evaluations: int
    root_steps: float | None = None  # runs from before there was a choice do not say


@dataclass(frozen=True, slots=True)
class RoundSettings:
    """Lengths and rates of the rounds; an epoch counts the pseudo-labelled images."""

    label_ratios: list[float]
    epochs: float | None
    steps: int | None
    learning_rate: float
    labelled_batch: int
    pseudo_batch: int
    evaluations: int
    root_steps: float | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Images to learn from.

    Attributes:
        labelled: Labelled images of each network, by its letter.
        unlabelled: Images that get pseudo-labels.
    """

    labelled: Mapping[str, int]
    unlabelled: int

    @property
    def for_rounds(self) -> int:
        """Images that the lengths of rounds count: the unlabelled ones, or all where none is unlabelled.

        No round is trained then, but a baseline that is as long as all rounds keeps about the length that it has at the
        label ratios at which it is compared with them.
        """
        return self.unlabelled or max(self.labelled.values())


@dataclass(frozen=True, slots=True)
class Recipe:
    """What every schedule builds its phases from."""

    start: StartSettings
    rounds: RoundSettings
    counts: Counts
    limit_steps: int | None

    def start_phase(self, trainee: str, steps: int | None = None) -> Phase:
        """Supervised training of one network from its starting weights."""
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
        """Training of one network in a round, on the pseudo-labels of the previous round's teacher."""
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


SCHEDULES: Registry[list[Phase]] = Registry("schedule", runtime=["recipe"])
"""Builders take a `recipe: Recipe` and return the phases in order."""


@SCHEDULES.register("supervised")
def supervised(*, recipe: Recipe) -> list[Phase]:
    """One network on the labelled images alone."""
    return [recipe.start_phase("a")]


@SCHEDULES.register("supervised_long")
def supervised_long(*, recipe: Recipe) -> list[Phase]:
    """One network on the labelled images alone, for as many steps as its start and all rounds would take.

    The fair baseline: whatever a semi-supervised method gains over it is not gained by training longer.
    """
    phases = self_training(recipe=recipe)
    return [recipe.start_phase("a", steps=sum(phase.steps for phase in phases))]


@SCHEDULES.register("self_training")
def self_training(*, recipe: Recipe) -> list[Phase]:
    """One network that is its own teacher of the next round.

    Source: Zou et al. 2018 (CBST); Feng et al. 2020 (DST). Deviation: none in the order of phases.
    """
    return [recipe.start_phase("a")] + [
        recipe.round_phase(number, "a", teacher="a") for number in _round_numbers(recipe)
    ]


@SCHEDULES.register("mutual")
def mutual(*, recipe: Recipe) -> list[Phase]:
    """Two networks; each is labelled by the other network of the previous round.

    Source: Feng et al. 2022 (DMT), algorithm 1, and its published script. Deviation: none in the order of phases; both
    networks of a round learn from the previous round, so that neither training of a round waits for the other.
    """
    phases = [recipe.start_phase("a"), recipe.start_phase("b")]
    for number in _round_numbers(recipe):
        phases += [recipe.round_phase(number, "a", teacher="b"), recipe.round_phase(number, "b", teacher="a")]
    return phases


def independent_phases(plan: list[Phase]) -> list[list[Phase]]:
    """The plan in pieces of neighbors that could run at the same time: none needs another, each has its own network."""
    pieces: list[list[Phase]] = []
    for phase in plan:
        piece = pieces[-1] if pieces else []
        needed = {phase.init_from, phase.label_from}
        if piece and not any(other.name in needed or other.trainee == phase.trainee for other in piece):
            piece.append(phase)
        else:
            pieces.append([phase])
    return pieces


def networks_of(plan: list[Phase]) -> list[str]:
    """Letters of the networks that a plan trains, in order."""
    return sorted({phase.trainee for phase in plan})


def phases_before(phase: Phase, plan: list[Phase]) -> list[Phase]:
    """What the network of a phase has been through before it."""
    of_network = [other for other in plan if other.trainee == phase.trainee]
    return of_network[: of_network.index(phase)]


def schedule_faults(spec: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with the `schedule` part of a config, one sentence each."""
    faults = SCHEDULES.faults(_without_sections(spec), "schedule")
    for section, settings in (("start", StartSettings), ("rounds", RoundSettings)):
        if not isinstance(spec.get(section), Mapping):
            faults.append(f"schedule.{section} should hold the settings of the {section}, but is {spec.get(section)!r}")
            continue
        wrong = argument_faults(settings, spec[section], f"schedule.{section}")
        faults += wrong or _range_faults(spec[section], f"schedule.{section}")
    limit = spec.get("limit_steps")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        faults.append(f"schedule.limit_steps should be a positive whole number or null, but is {limit!r}")
    decay = spec.get("ema")
    if decay is not None and not (isinstance(decay, float) and 0 < decay < 1):
        faults.append(f"schedule.ema should be a number between 0 and 1, such as 0.99, or null, but is {decay!r}")
    warmup = spec.get("warmup", 0.0)
    if not (isinstance(warmup, int | float) and not isinstance(warmup, bool) and 0 <= warmup < 1):
        faults.append(f"schedule.warmup should be a share of each phase, from 0 to below 1, but is {warmup!r}")
    return faults


def build_plan(spec: Mapping[str, Any], counts: Counts) -> list[Phase]:
    """Turn the `schedule` part of a config into the ordered list of phases.

    Args:
        spec: `name`, `start`, `rounds`, `limit_steps`, and arguments of the schedule itself.
        counts: Images to learn from.

    Where no image is unlabelled, phases that learn from stored pseudo-labels are left out (see `left_out`): so every
    method can be trained at every label ratio, all labels included.

    Raises:
        ConfigError: A fault in the settings.

    Examples:
        >>> start = {"epochs": None, "steps": 100, "learning_rate": 0.01, "labelled_batch": 4, "evaluations": 1}
        >>> rounds = start | {"label_ratios": [0.5, 1.0], "pseudo_batch": 4}
        >>> spec = {"name": "self_training", "start": start, "rounds": rounds}
        >>> for phase in build_plan(spec, Counts(labelled={"a": 10}, unlabelled=70)):
        ...     print(phase.name, phase.init_from, phase.label_from, phase.label_ratio)
        r0-a None None None
        r1-a r0-a r0-a 0.5
        r2-a r1-a r1-a 1.0
    """
    return [phase for phase in _whole_plan(spec, counts) if counts.unlabelled or phase.label_from is None]


def left_out(spec: Mapping[str, Any], counts: Counts) -> list[str]:
    """Names of the phases that `build_plan` leaves out, as there is no unlabelled image to learn from."""
    kept = {phase.name for phase in build_plan(spec, counts)}
    return [phase.name for phase in _whole_plan(spec, counts) if phase.name not in kept]


def _whole_plan(spec: Mapping[str, Any], counts: Counts) -> list[Phase]:
    raise_faults(schedule_faults(spec))
    recipe = Recipe(
        start=StartSettings(**spec["start"]),
        rounds=RoundSettings(**spec["rounds"]),
        counts=counts,
        limit_steps=spec.get("limit_steps"),
    )
    return SCHEDULES.build(_without_sections(spec), "schedule", recipe=recipe)


def plan_to_json(plan: list[Phase]) -> list[dict[str, Any]]:
    """The plan as plain dictionaries, for plan.json."""
    return [dataclasses.asdict(phase) for phase in plan]


def plan_from_json(entries: list[dict[str, Any]]) -> list[Phase]:
    """The inverse of `plan_to_json`."""
    return [Phase(**entry) for entry in entries]


def _round_numbers(recipe: Recipe) -> range:
    return range(1, len(recipe.rounds.label_ratios) + 1)


def _without_sections(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What is left for the schedule's own builder; the other settings are the plan's and the training loop's."""
    shared = ("start", "rounds", "limit_steps", "optimizer", "rate", "warmup", "ema")
    return {key: value for key, value in spec.items() if key not in shared}


def _steps(section: str, steps: int | None, epochs: float | None, images: int, batch: int) -> int:
    if steps is not None:
        return steps
    if epochs is None:
        raise ConfigError(f"schedule.{section} needs steps, epochs or root_steps")
    # The published loaders keep the last, smaller batch, so an epoch has the ceiling; we fill that batch up.
    return max(1, round(epochs * math.ceil(images / batch)))


def _range_faults(settings: Mapping[str, Any], where: str) -> list[str]:
    checks: list[tuple[str, Callable[[Any], bool], str]] = [
        ("epochs", lambda v: v is None or v > 0, "above 0 or null"),
        ("steps", lambda v: v is None or v >= 1, "at least 1 or null"),
        ("root_steps", lambda v: v is None or v > 0, "above 0 or null"),
        ("learning_rate", lambda v: v > 0, "above 0"),
        (
            "labelled_batch",
            lambda v: v >= (1 if where.endswith("start") else 0),
            "a positive number of images",
        ),
        ("pseudo_batch", lambda v: v >= 1, "at least 1"),
        ("evaluations", lambda v: v >= 1, "at least 1"),
        ("label_ratios", lambda v: all(0 < ratio <= 1 for ratio in v), "ratios above 0 and at most 1"),
    ]
    return [
        f"{where}.{key} should be {expected}, but is {settings[key]!r}"
        for key, is_fine, expected in checks
        if key in settings and not is_fine(settings[key])
    ]
