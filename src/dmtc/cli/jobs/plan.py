"""`job=plan`: the phases that would run."""

from collections.abc import Sequence

from dmtc.cli.jobs.common import components_to_look_at
from dmtc.cli.jobs.registry import JOBS
from dmtc.config.methods import method_title
from dmtc.config.schema import Config
from dmtc.report import plan_table, step_lines


@JOBS.register("plan")
def plan_job(*, config: Config, given: Sequence[str] = ()) -> None:
    """Print the phases that would run; write nothing."""
    components = components_to_look_at(config, given)
    method, scored = method_title(components.config), components.scored_line
    notes = [*step_lines(components), *components.choices]
    print(plan_table(method, components.plan, components.split, notes, scored), end="")
