"""`job=report`: the report of a run, or of all runs below a folder."""

from pathlib import Path

from dmtc.cli.jobs.common import components_of_run
from dmtc.cli.jobs.registry import JOBS
from dmtc.config.schema import Config
from dmtc.core.errors import ConfigError
from dmtc.core.terminal import show
from dmtc.report import (
    write_run_report,
    write_sweep_report,
)


@JOBS.register("report")
def report_job(
    *, config: Config, runs: str | None, over: list[str], baselines: list[str], beside: list[str], out: str | None
) -> None:
    """Write the report of a run, or of all runs below a folder; the latter's tables are also printed."""
    run, target = config["run_dir"], None if out is None else Path(out)
    if (runs is None) == (run is None):
        raise ConfigError("job=report needs run=RUN_DIR, for one run, or runs=DIR, for all runs below a folder")
    if runs is not None:
        text, page = write_sweep_report(Path(runs), over, baselines, target)
        show(text)
    else:
        own, *others = (components_of_run(folder, config) for folder in [run, *beside])
        page = write_run_report(*own, others, target)
    show(f"written to {page} and {page.parent / 'report'}")
