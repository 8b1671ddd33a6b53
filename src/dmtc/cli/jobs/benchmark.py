"""`job=benchmark`: what a recipe costs on this machine."""

from collections.abc import Sequence
from pathlib import Path

from dmtc.cli.jobs.common import components_to_look_at
from dmtc.cli.jobs.registry import JOBS
from dmtc.config.schema import Config
from dmtc.core.errors import ConfigError
from dmtc.core.files import write_json
from dmtc.core.ownership import require_own_file
from dmtc.core.terminal import show
from dmtc.cost import measure_cost
from dmtc.machine.environment import describe_environment
from dmtc.report import (
    cost_page,
)
from dmtc.tracking.progress import Progress


@JOBS.register("benchmark")
def benchmark_job(
    *,
    config: Config,
    steps: int,
    seconds: float,
    batches: list[int],
    output: str | None,
    network: str | None,
    given: Sequence[str] = (),
) -> float | None:
    """Measure the recipe's parts on this machine, and print what the whole plan would cost."""
    if steps < 1 or seconds <= 0 or any(images < 1 for images in batches):
        raise ConfigError(
            "job.steps should be at least 1, job.seconds above 0 and job.batches a list of whole numbers above 0, but"
            f" they are {steps}, {seconds} and {batches}"
        )
    if output is not None:
        require_own_file(Path(output), "job.output", {"precision", "environment"})
    components = components_to_look_at(config, given)
    progress = Progress([], "off" if components.run.progress == "off" else "lines")
    cost = measure_cost(components, network=network, steps=steps, seconds=seconds, batches=batches, report=progress.say)
    facts, precision = describe_environment(components.device), str(components.precision).removeprefix("torch.")
    cpu = f"{facts['processor']}, threads: {facts['threads']}"
    device = facts["device"] if components.device.type == "cuda" else cpu
    show(cost_page(cost, f"{device}; {precision}"), end="")
    if output is not None:
        write_json(Path(output), cost.to_json() | {"precision": precision, "environment": facts})
    return cost.seconds
