"""Reports and records a sweep: a line and a status file for each job that ends, and a report on all of them.

With any launcher, Hydra calls this in the process that runs the job.
"""

import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from dmtc.cli.output_folder import look_at_folder_of_run, look_at_folder_of_sweep
from dmtc.config.hydra_errors import one_line
from dmtc.core.errors import TrainingError, UserError
from dmtc.core.system_errors import explain_os_error
from dmtc.core.terminal import show
from dmtc.machine.interruption import JobStopped
from dmtc.run.sweep_folder import Job, Status, SweepFolder, read_status, write_status


class SweepCallback(Callback):
    """Hydra callback for sweeps. It also checks the folder of a single run; only training sweeps are recorded."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Check the folder before Hydra makes it."""
        look_at_folder_of_run(config)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Name each job's folder after exactly the swept options, so no two jobs share one."""
        look_at_folder_of_sweep(config)
        parsed = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
        swept = {override.get_key_element() for override in parsed if override.is_sweep_override()}
        key = "hydra.job.config.override_dirname.exclude_keys"
        others = {*OmegaConf.select(config, key), *(override.get_key_element() for override in parsed)} - swept
        excluded = ",".join(f"'{name}'" for name in sorted(others))
        with read_write(config):
            config.hydra.overrides.hydra.append(f"{key}=[{excluded}]")

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Record that the job has started."""
        if _is_counted(config) and _may_be_ours(_folder(config)):
            write_status(_folder(config), Status(_overrides(config), "running", time.time()))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Record the job's outcome and print its line."""
        result, name = job_return._return_value, config.hydra.job.override_dirname or "defaults"
        if not _is_counted(config):
            if config.hydra.mode == RunMode.MULTIRUN and job_return.status == JobStatus.FAILED:
                show(f"failed: {name}: {reason_of(result)}", sys.stderr)
            return
        before = read_status(_folder(config))
        began = before.began if before else time.time()
        if job_return.status == JobStatus.FAILED:
            expected = isinstance(
                result, UserError | TrainingError | JobStopped | HydraException | OmegaConfBaseException | OSError
            )
            trace = None if expected else "".join(traceback.format_exception(result))
            status = Status(_overrides(config), "failed", began, time.time(), None, reason_of(result), trace)
        else:
            status = Status(_overrides(config), "done", began, time.time(), result)
        if _may_be_ours(_folder(config)):
            write_status(_folder(config), status)
        sweep = SweepFolder(config.hydra.sweep.dir)
        show(_line(name, status, sweep.read_jobs(), sweep.statuses()), sys.stderr)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write a report on all runs in the sweep's folder."""
        if config.job.name != "train":
            return
        # Imported here because most commands are not sweeps.
        from dmtc.cli.jobs import JOBS
        from dmtc.config.compose import compose
        from dmtc.engine.checks import settle

        report = settle(compose(["job=report"]), JOBS)
        report["job"]["runs"] = str(Path(config.hydra.sweep.dir).absolute())
        try:
            JOBS.build(report["job"], "job", config=report)
        except (UserError, OSError) as error:  # for example if no run got far enough; its own line says why
            show(f"no report: {reason_of(error)}", sys.stderr)


def reason_of(error: BaseException) -> str:
    """Why a job failed, in one line."""
    if isinstance(error, HydraException | OmegaConfBaseException):
        return one_line(error)
    if isinstance(error, JobStopped):
        return "stopped"
    if isinstance(error, OSError):
        return explain_os_error(error)[0]
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError | TrainingError) else f"{type(error).__name__}: {text}"


def _is_counted(config: DictConfig) -> bool:
    return config.hydra.mode == RunMode.MULTIRUN and config.job.name == "train"


def _may_be_ours(folder: Path) -> bool:
    """Whether a job's folder is free of foreign files; if it is not, the job itself reports the error."""
    # Imported here because the sweep's own process may train nothing.
    from dmtc.run.beginning import refuse_foreign
    from dmtc.run.folder import RunFolder

    try:
        refuse_foreign(RunFolder(folder))
    except (UserError, OSError):
        return False
    return True


def _folder(config: DictConfig) -> Path:
    return Path(config.hydra.runtime.output_dir)


def _overrides(config: DictConfig) -> tuple[str, ...]:
    return tuple(config.hydra.overrides.task)


def _line(name: str, status: Status, jobs: Sequence[Job], statuses: Sequence[Status]) -> str:
    """Summary line of an ended job: its number of the total, name, result, and the estimated time left."""
    latest = max((job.asked for job in jobs), default=0.0)  # earlier commands may have used the folder
    requested = {job.overrides for job in jobs if job.asked == latest and job.refused is None}
    known = [one for one in statuses if one.began >= latest and (one.overrides in requested or not requested)]
    ended = [one for one in known if one.ended is not None]
    of = f" of {len(requested)}" if requested else ""
    if status.state == "failed":
        result = f"failed: {status.reason}"
    else:
        result = f"{'done' if status.miou is None else f'mIoU {100 * status.miou:.1f}'} in {_time(status.seconds)}"
    left = seconds_left(requested - {one.overrides for one in ended}, ended)
    tail = "" if left is None else f"; about {_time(left)} left"
    return f"[{len(ended)}{of}] {name}: {result}{tail}"


def seconds_left(pending: set[tuple[str, ...]], ended: Sequence[Status]) -> float | None:
    """Estimate assuming that each job takes as long as the most similar ones, and as many run at once as lately."""
    done = [one for one in ended if one.state == "done"]
    if not pending or not done:
        return None
    work = 0.0
    for overrides in pending:
        alike = [len(set(overrides) & set(one.overrides)) for one in done]
        nearest = [one.seconds for one, count in zip(done, alike, strict=True) if count == max(alike)]
        work += sum(nearest) / len(nearest)
    # If the last jobs overlapped, several run at a time.
    last = sorted(done, key=lambda one: one.began)[-16:]
    elapsed = max(one.ended or 0.0 for one in last) - min(one.began for one in last)
    return work / max(1.0, sum(one.seconds for one in last) / max(elapsed, 1e-9))


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
