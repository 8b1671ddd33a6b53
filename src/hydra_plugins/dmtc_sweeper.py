"""Hydra's basic sweeper, mended: a sweep of which one value is wrong, or one run fails, still runs all the others.

Hydra's own refuses the whole sweep when one job does not compose, and ends it after the batch in which a job failed.
Jobs that run in processes of their own save before Ctrl-C or SIGTERM ends them.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException


class DmtcSweeper(BasicSweeper):
    """See above."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep.

        Raises:
            ConfigError: Jobs could not be started or failed, and all through faults of the user; says how many.
            TrainingError: Likewise, but not all through those.
            Exception: A job's error that nobody foresaw, as it is.
        """
        from dmtc.core.files import write_atomically
        from dmtc.run.sweep_folder import Job, SweepFolder

        assert self.config is not None and self.launcher is not None and self.hydra_context is not None  # noqa: PT018
        at_once = _jobs_at_once(self.launcher)
        overrides = OverridesParser.create(self.hydra_context.config_loader).parse_overrides(
            [*self._parse_config(), *arguments]
        )
        folder = SweepFolder(self.config.hydra.sweep.dir)
        write_atomically(folder.path / "multirun.yaml", OmegaConf.to_yaml(self.config))
        swept = {override.get_key_element() for override in overrides if override.is_sweep_override()}
        batches = self.split_arguments(overrides, self.max_batch_size)
        asked = time.time()
        jobs = []
        for job in [job for batch in batches for job in batch]:
            name = ",".join(sorted(part for part in job if part.partition("=")[0] in swept)) or "defaults"
            jobs.append(Job(name, tuple(job), asked, self._fault(job, name)))
        if self.config.job.name == "train":
            folder.write_jobs(jobs)
        faulty = {job.overrides for job in jobs if job.refused is not None}
        returned: list[Sequence[JobReturn]] = []
        for batch in batches:
            started = [job for job in batch if tuple(job) not in faulty]
            if started:
                _divide_cores(self.launcher, at_once, len(started))
                with _jobs_stop_first():
                    returned.append(self.launcher.launch(started, initial_job_idx=sum(map(len, returned))))
        failures = [job._return_value for batch in returned for job in batch if job.status == JobStatus.FAILED]
        if faulty or failures:
            # Hydra itself comes to it only where nothing is raised.
            self.hydra_context.callbacks.on_multirun_end(config=self.config)
            _raise(len(faulty), failures, len(jobs))
        return returned

    def _fault(self, overrides: Sequence[str], name: str) -> str | None:
        """Why a job does not compose, or can have no folder, told at once; None if it can be started."""
        from dmtc.config.compose import fault_of_composing
        from dmtc.core.ownership import require_folder
        from dmtc.core.system_errors import explain_os_error
        from dmtc.core.terminal import show

        assert self.config is not None and self.hydra_context is not None  # noqa: PT018
        try:
            config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            with suppress(OmegaConfBaseException):  # a name of the user's own may need what only a job knows
                name_of_folder = config.hydra.sweep.subdir
                require_folder(Path(config.hydra.sweep.dir, name_of_folder).absolute(), "hydra.sweep.subdir")
        except HydraException as error:  # a choice that is not there is an OSError as well
            fault = str(fault_of_composing(error))
        except OSError as error:
            fault, _ = explain_os_error(error)
        except Exception as error:
            fault = str(fault_of_composing(error))
        else:
            return None
        show(f"not started: {name}: {fault}", sys.stderr)
        return fault


def _jobs_at_once(launcher: Launcher) -> int | None:
    """How many jobs joblib may run at once; None for another launcher.

    Raises:
        ConfigError: None at all.
    """
    from dmtc.core.errors import ConfigError

    settings = getattr(launcher, "joblib", None)
    if settings is None:
        return None
    if settings["n_jobs"] == 0:
        raise ConfigError("hydra.launcher.n_jobs=0: give the number of jobs that run at once, or -1 for one per core")
    from joblib import effective_n_jobs

    return effective_n_jobs(settings["n_jobs"])


def _divide_cores(launcher: Launcher, most: int | None, jobs: int) -> None:
    """Leave the number of threads to launchers that run jobs at once; joblib gives each its share of the cores.

    joblib divides by `n_jobs`, so that must not be above the number of jobs: two jobs on 16 cores get 8 threads each.

    Args:
        launcher: Hydra's launcher.
        most: How many jobs joblib may run at once; None for another launcher.
        jobs: How many are to be launched now.
    """
    from dmtc.core.terminal import show
    from dmtc.machine.cores import release_threads

    if isinstance(launcher, BasicLauncher):
        return
    settings = getattr(launcher, "joblib", None)
    if settings is None or most is None:
        release_threads(os.environ)  # Slurm gives each job its own
        return
    from joblib import cpu_count

    at_once = settings["n_jobs"] = min(jobs, most)
    if at_once > 1:  # a single one runs in this process
        release_threads(os.environ)
        threads = os.environ.get("OMP_NUM_THREADS") or max(1, cpu_count() // at_once)
        show(f"{jobs} jobs, {at_once} at a time; threads per job: {threads}", sys.stderr)


def _raise(refused: int, failures: Sequence[BaseException], jobs: int) -> None:
    from dmtc.cli.sweeping import reason_of
    from dmtc.core.errors import ConfigError, TrainingError, UserError

    counts = [f"{refused} could not be started"] * (refused > 0) + [f"{len(failures)} failed"] * bool(failures)
    # Of a job on another machine nothing has been seen here.
    first = f" (the first: {reason_of(failures[0])})" if failures else ""
    text = f"of {jobs} jobs {' and '.join(counts)}{first}; see above"
    for error in failures:
        if not isinstance(error, UserError | TrainingError | HydraException | OmegaConfBaseException):
            raise error
    raise (TrainingError if any(isinstance(error, TrainingError) for error in failures) else ConfigError)(text)


@contextmanager
def _jobs_stop_first() -> Iterator[None]:
    """Pass a request to stop on to the processes of the jobs, and wait for what they do; a second one stops at once."""
    from dmtc.machine.interruption import handled_by

    asked: list[int] = []

    def pass_on(signum: int, frame: Any) -> None:
        from multiprocessing import active_children

        children = active_children()
        if asked or not children:
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        asked.append(signum)
        for child in children:
            # Ctrl-C has reached them already, and this is nothing new to them; a signal to this process alone has not.
            os.kill(child.pid or 0, signal.SIGTERM)

    with handled_by(pass_on):
        yield


@dataclass
class _SweeperConfig:
    _target_: str = "hydra_plugins.dmtc_sweeper.DmtcSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="dmtc", node=_SweeperConfig, provider="dmtc")
