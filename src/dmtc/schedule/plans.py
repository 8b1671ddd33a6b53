"""Schedules: build a plan, the ordered list of a method's phases, from the config.

A phase trains one network once, from given starting weights, on labelled images and on the pseudo-labels of a given
teacher. The engine runs any plan and knows no methods; a method consists only of a plan and losses.
"""

from collections.abc import Mapping
from typing import Any

from dmtc.core.registry import Registry, raise_faults
from dmtc.schedule.phase import Phase
from dmtc.schedule.recipe import Counts, Recipe
from dmtc.schedule.settings import RoundSettings, StartSettings, own_options, stage_faults

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
        phases += [recipe.round_phase(number, "a", teacher="b"), recipe.round_phase(number, "b", teacher="a")]
    return phases


def schedule_faults(spec: Mapping[str, Any]) -> list[str]:
    """All faults of the `schedule` part of a config, one sentence each."""
    return SCHEDULES.faults(own_options(spec), "schedule") + stage_faults(spec)


def build_plan(spec: Mapping[str, Any], counts: Counts) -> list[Phase]:
    """Build the ordered list of phases from the `schedule` part of a config.

    Args:
        spec: `name`, `start`, `rounds`, `limit_steps`, and arguments of the schedule's builder.
        counts: Number of training images.

    If there are no unlabelled images, phases that learn from stored pseudo-labels are left out (see `left_out`), so
    every method can train at every split, even with all labels.

    Raises:
        ConfigError: The settings have a fault.

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
    """Names of the phases that `build_plan` leaves out for lack of unlabelled images."""
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
    return SCHEDULES.build(own_options(spec), "schedule", recipe=recipe)


def _round_numbers(recipe: Recipe) -> range:
    return range(1, len(recipe.rounds.label_ratios) + 1)
