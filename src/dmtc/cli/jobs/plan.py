"""`job=plan`: the phases that would run."""

from collections.abc import Sequence

from dmtc.cli.jobs.common import components_to_look_at
from dmtc.cli.jobs.registry import JOBS
from dmtc.config.methods import method_title
from dmtc.config.schema import Config
from dmtc.core.terminal import show
from dmtc.engine.components import Components
from dmtc.report import plan_table, step_lines


@JOBS.register("plan")
def plan_job(*, config: Config, given: Sequence[str] = ()) -> None:
    """Print the phases that would run; write nothing."""
    components = components_to_look_at(config, given)
    _ = components.evaluation  # refuses metrics that do not fit the classes
    method, scored = method_title(components.config), _scored_line(components)
    notes = [*step_lines(components), *components.choices]
    show(plan_table(method, components.plan, components.split, notes, scored), end="")


def _scored_line(components: Components) -> str | None:
    """A line about the scored images; None if there is no test part."""
    val, test = len(components.dataset.val), len(components.dataset.test)
    if not test:
        return None
    when = "once, at the end" if components.run.test else "never, because run.test=false"
    return f"scored: {val} validation images after each phase, {test} test images {when}"
