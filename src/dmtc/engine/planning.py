"""Builds a plan, and checks that every phase of it has something to learn from."""

from collections.abc import Mapping, Sequence
from typing import Any

from dmtc.config.methods import methods_of_terms
from dmtc.config.schema import Config
from dmtc.core.errors import ConfigError
from dmtc.losses.terms import Term, takes_snapshots, terms_of_stage
from dmtc.schedule import Counts, Labellers, Phase, build_plan
from dmtc.schedule.plans import left_out


def checked_plan(
    config: Config, schedule: Mapping[str, Any], counts: Counts, labellers: Labellers, terms: list[Term]
) -> list[Phase]:
    """The phases in order.

    Args:
        config: Settled config.
        schedule: Its schedule, with lengths.
        counts: Number of training images.
        labellers: Who labels the unlabelled ones.
        terms: The terms of the loss.

    Raises:
        ConfigError: A phase has no loss, or its loss needs a teacher in the step.
    """
    plan = build_plan(schedule, counts, labellers)
    for phase in plan:  # reject a phase without any loss before the first one starts
        try:
            active = terms_of_stage(terms, phase.stage)
        except ConfigError as error:
            raise ConfigError(f"{_fitting_methods(config)}{error}") from None
        taught = [term.name for term in active if term.rows.target != "own"]
        if taught and phase.teacher is None and counts.unlabelled:
            raise ConfigError(
                f"loss.{taught[0]}.target={next(term.rows.target for term in active if term.name == taught[0])} needs a"
                f" teacher within the step, such as teacher=average; phase {phase.name} has none"
            )
        if takes_snapshots(active) and not labellers.snapshots and counts.unlabelled:
            those = ", ".join(f"loss.{term.name}" for term in active if takes_snapshots([term]))
            raise ConfigError(
                f"{those}: target=snapshots, but none are kept: set teacher.snapshots={{interval: 0.025, most: 8,"
                " drawn: 3}, or turn the term off with null"
            )
    return plan


def refuse_different_labels(plan: list[Phase], subsets: Mapping[str, Sequence[str]]) -> None:
    """Refuse phases that learn from the same batches although their networks have labelled images of their own.

    Raises:
        ConfigError: There are such phases.
    """
    for phase in plan:
        others = [one for one in plan if one.name in phase.together and subsets[one.trainee] != subsets[phase.trainee]]
        if others:
            raise ConfigError(
                f"teacher={phase.teacher} shows both networks the same images, but the split gives {phase.trainee} and"
                f" {others[0].trainee} different labelled images; choose a split that gives both the same"
            )


def labelled_only_notes(
    schedule: Mapping[str, Any], counts: Counts, labellers: Labellers, plan: list[Phase]
) -> list[str]:
    """What a plan leaves out for lack of unlabelled images, one line each."""
    if counts.unlabelled:
        return []
    names, online = left_out(schedule, counts, labellers), [phase.name for phase in plan if phase.stage == "online"]
    left = f"no image is unlabelled: the phases that learn from pseudo-labels are left out ({', '.join(names)})"
    alone = f"no image is unlabelled: {', '.join(online)} learns from the labelled images only"
    return [*([left] if names else []), *([alone] if online else [])]


def _fitting_methods(config: Config) -> str:
    """A hint naming the methods whose terms these are, for terms that do not fit the schedule."""
    method, loss = config["method"], config["loss"]["name"]
    others = [f"method={name}" for name in methods_of_terms(loss) if name != method["name"]]
    return f"the terms of loss={loss} go with {' or '.join(others)}; " if others else ""
