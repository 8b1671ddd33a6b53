"""Schedules: build a plan, the ordered list of a method's phases, from the config.

A phase trains one network once, from given starting weights, on labelled images and on the pseudo-labels of a given
teacher, which labels them before the phase or inside its steps. The engine runs any plan and knows no methods.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry, raise_faults
from dmtc.schedule.phase import Phase
from dmtc.schedule.recipe import Counts, Labellers, Recipe
from dmtc.schedule.settings import OnlineSettings, RoundSettings, StartSettings, own_options, stage_faults

_STORED = Labellers()

SCHEDULES: Registry[list[Phase]] = Registry("schedule", runtime=["recipe"])
"""Builders take a `recipe: Recipe` and return the phases in order."""


@SCHEDULES.register("supervised")
def supervised(*, recipe: Recipe) -> list[Phase]:
    """One network on the labelled images only."""
    return [recipe.start_phase("a")]


@SCHEDULES.register("supervised_long")
def supervised_long(*, recipe: Recipe) -> list[Phase]:
    """One network on the labelled images only, for as many steps as its start and all rounds together.

    The fair baseline: the gain of a semi-supervised method over it is not due to longer training.
    """
    phases = self_training(recipe=recipe)
    return [recipe.start_phase("a", steps=sum(phase.steps for phase in phases))]


@SCHEDULES.register("self_training")
def self_training(*, recipe: Recipe) -> list[Phase]:
    """One network that is its own teacher for the next round.

    Source: Zou et al. 2018 (CBST); Feng et al. 2020 (DST). Deviation: none in the order of phases.
    """
    return [recipe.start_phase("a")] + [
        recipe.round_phase(number, "a", teacher="a") for number in _round_numbers(recipe)
    ]


@SCHEDULES.register("mutual")
def mutual(*, recipe: Recipe) -> list[Phase]:
    """Two networks; the teacher of each is the other network after the previous round.

    Source: Feng et al. 2022 (DMT), algorithm 1, and its published script. Deviation: none in the order of phases; both
    networks of a round learn from the previous round, so they can train in parallel.
    """
    phases = [recipe.start_phase("a"), recipe.start_phase("b")]
    for number in _round_numbers(recipe):
        phases += recipe.together(
            [recipe.round_phase(number, "a", teacher="b"), recipe.round_phase(number, "b", teacher="a")]
        )
    return phases


@SCHEDULES.register("online")
def online(*, recipe: Recipe) -> list[Phase]:
    """One long phase, in which a teacher labels the images within the step: of one network, or of a and b as peers.

    Source: the loops of FixMatch, UniMatch, mean teacher and CPS. Deviation: without a length of its own, the phase
    passes as many images forward and backward as `supervised_long`, so that methods are compared at equal cost.
    """
    budget = _student_images(recipe)
    return recipe.together([recipe.online_phase(letter, budget) for letter in _letters(recipe)])


@SCHEDULES.register("online_after_start")
def online_after_start(*, recipe: Recipe) -> list[Phase]:
    """The supervised start of each network, then one long phase as in `online`.

    Without a length of its own, the long phase is shorter by the images of the start.
    """
    starts = [recipe.start_phase(letter) for letter in _letters(recipe)]
    budget = _student_images(recipe) - starts[0].steps * starts[0].labelled_batch
    phases = [recipe.online_phase(start.trainee, budget, after=start.name) for start in starts]
    return starts + recipe.together(phases)


@SCHEDULES.register("st")
def st(*, recipe: Recipe) -> list[Phase]:
    """One network that labels all images once; it then starts over and learns from them.

    Source: Yang et al. 2022 (ST). Deviation: retraining takes as many steps as all rounds of `self_training`, so that
    methods are compared at equal cost.
    """
    start = recipe.start_phase("a")
    return [start, recipe.retraining(1, "a", start.name, _steps_of_rounds(recipe))]


@SCHEDULES.register("st_plus_plus")
def st_plus_plus(*, recipe: Recipe, image_share: float) -> list[Phase]:
    """Like `st`, but reliable images come first, and the network that has learned from them labels the others.

    Args:
        recipe: The input of all schedules.
        image_share: Share of the unlabelled images that counts as reliable, in (0, 1).

    Source: Yang et al. 2022 (ST++). Deviations: see `st`; the two retrainings share the steps by their images.
    """
    if not 0 < image_share < 1:
        raise ConfigError(f"schedule.image_share should be above 0 and below 1, but is {image_share}")
    start, steps = recipe.start_phase("a"), _steps_of_rounds(recipe)
    thirds = sorted({max(1, round(start.steps * number / 3)) for number in (1, 2)})
    first = max(1, round(steps * image_share / (1 + image_share)))
    reliable = replace(
        recipe.retraining(1, "a", start.name, first), ranked_by=start.name, image_share=float(image_share)
    )
    every = replace(
        recipe.retraining(2, "a", reliable.name, max(1, steps - first)), keeps_labels_of=reliable.label_from
    )
    return [replace(start, kept_after=tuple(thirds)), reliable, every]


def _steps_of_rounds(recipe: Recipe) -> int:
    return recipe.round_steps * len(recipe.rounds.label_ratios)


def _student_images(recipe: Recipe) -> int:
    """Images that a network passes forward and backward in the start and all rounds."""
    return sum(phase.steps * (phase.labelled_batch + phase.pseudo_batch) for phase in self_training(recipe=recipe))


def _letters(recipe: Recipe) -> str:
    return "ab"[: recipe.labellers.networks]


def schedule_faults(spec: Mapping[str, Any]) -> list[str]:
    """All faults of the `schedule` part of a config, one sentence each."""
    return SCHEDULES.faults(own_options(spec), "schedule") + stage_faults(spec)


def build_plan(spec: Mapping[str, Any], counts: Counts, labellers: Labellers = _STORED) -> list[Phase]:
    """Build the ordered list of phases from the `schedule` part of a config.

    Args:
        spec: `name`, `start`, `rounds`, `online`, `limit_steps`, and arguments of the schedule's builder.
        counts: Number of training images.
        labellers: Who labels the unlabelled images.

    If there are no unlabelled images, rounds are left out (see `left_out`), and an online phase learns from labelled
    images only, so every method can train at every split, even with all labels.

    Raises:
        ConfigError: The settings have a fault, or the plan does not fit the teacher.

    Examples:
        >>> start = {"epochs": None, "steps": 100, "learning_rate": 0.01, "labelled_batch": 4, "evaluations": 1}
        >>> rounds = start | {"label_ratios": [0.5, 1.0], "pseudo_batch": 4}
        >>> online = start | {"unlabelled_batch": 4}
        >>> spec = {"name": "self_training", "start": start, "rounds": rounds, "online": online}
        >>> for phase in build_plan(spec, Counts(labelled={"a": 10}, unlabelled=70)):
        ...     print(phase.name, phase.init_from, phase.label_from, phase.label_ratio)
        r0-a None None None
        r1-a r0-a r0-a 0.5
        r2-a r1-a r1-a 1.0
    """
    plan = _whole_plan(spec, counts, labellers)
    if not counts.unlabelled:
        return [_of_labelled(phase) for phase in plan if phase.stage != "rounds"]
    if labellers.teacher is None and any(phase.stage == "online" for phase in plan):
        raise ConfigError(
            f"schedule={spec['name']} labels images within the step: choose what labels them, such as teacher=average"
        )
    if labellers.networks > 1 and all(len(phase.together) < labellers.networks for phase in plan):
        raise ConfigError(
            f"teacher={labellers.teacher} needs {labellers.networks} networks that learn together:"
            " schedule=online or schedule=mutual"
        )
    return plan


def left_out(spec: Mapping[str, Any], counts: Counts, labellers: Labellers = _STORED) -> list[str]:
    """Names of the phases that `build_plan` leaves out for lack of unlabelled images."""
    kept = {phase.name for phase in build_plan(spec, counts, labellers)}
    return [phase.name for phase in _whole_plan(spec, counts, labellers) if phase.name not in kept]


def _whole_plan(spec: Mapping[str, Any], counts: Counts, labellers: Labellers) -> list[Phase]:
    raise_faults(schedule_faults(spec))
    recipe = Recipe(
        start=StartSettings(**spec["start"]),
        rounds=RoundSettings(**spec["rounds"]),
        online=OnlineSettings(**spec["online"]),
        counts=counts,
        limit_steps=spec.get("limit_steps"),
        labellers=labellers,
    )
    return SCHEDULES.build(own_options(spec), "schedule", recipe=recipe)


def _of_labelled(phase: Phase) -> Phase:
    """The phase on labelled images only."""
    return replace(phase, pseudo_batch=0, teacher=None, together=(), kept_after=())


def _round_numbers(recipe: Recipe) -> range:
    return range(1, len(recipe.rounds.label_ratios) + 1)
