"""The command line: runs jobs through Hydra and sets the exit code.

0: done; 2: a user error (config, data, paths), reported in one line; 1: any other error; 130: stopped by Ctrl-C; 143:
stopped by SIGTERM or SIGUSR1.
"""

import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dmtc.cli.output_folder import Refused, remove_what_is_empty
from dmtc.config.compose import fault_of_composing, resolved
from dmtc.config.folder import config_folder, forget_loaded
from dmtc.config.job_options import READS, given_keys, refuse_unread
from dmtc.config.leftovers import drop_leftovers
from dmtc.config.overrides import translate
from dmtc.core.command import command
from dmtc.core.errors import ConfigError, TrainingError, UserError
from dmtc.core.files import read_regular
from dmtc.core.markup import in_one_line
from dmtc.core.system_errors import explain_os_error
from dmtc.core.terminal import show
from dmtc.core.version import __version__
from dmtc.machine.cores import limit_threads
from dmtc.machine.interruption import JobStopped, RunStopped, ended_in_order
from dmtc.machine.torchrun import started_together
from dmtc.machine.waiting import wait_passively


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; raises `SystemExit` for a nonzero exit code."""
    code = _main(sys.argv[1:] if arguments is None else arguments)
    if code and started_together():
        _leave_others(code)
    if code:
        raise SystemExit(code)


def _main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    global _began
    if "--version" in arguments:
        print(f"dmtc {__version__}")  # Hydra's own option prints the version of Hydra
        return 0
    wait_passively()  # before torch is imported, as the next line
    limit_threads(os.environ)
    _began = False
    forget_loaded()
    # Otherwise Hydra prints its own traceback and always exits with 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    task = hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")(_task)
    try:
        sys.argv[1:] = _without_folder(translate(arguments))
        if started_together():
            _join_others()
        # One of several processes may be waiting for the others where no signal handler runs: it must end at once.
        ending = nullcontext() if started_together() else ended_in_order()
        with ending, _fitted_help() if {"--help", "-h"} & set(sys.argv) else nullcontext():
            task()
    except (RunStopped, JobStopped) as stopped:
        return stopped.exit_code
    except KeyboardInterrupt:
        return 130
    except Refused as refused:
        return _report(refused.error)
    except Exception as error:
        # Before a job begins, only config files, overrides and Hydra's folder can fail.
        return _report(error if _began or isinstance(error, OSError) else fault_of_composing(error))
    except BaseException as error:
        return _report(error)
    finally:
        remove_what_is_empty()
    return 0


@contextmanager
def _fitted_help() -> Iterator[None]:
    """Print what Hydra prints, fitted to the terminal."""
    stream, text = sys.stdout, StringIO()
    try:
        with redirect_stdout(text):
            yield
    finally:
        show(text.getvalue(), stream, end="")


_began = False
"""Whether a job has begun in this process."""


_READ_ONLY = ("check", "plan")
"""Jobs that write nothing. They accept a folder, so a user can check or plan a run by adding `job=` to its command."""


def _without_folder(arguments: Sequence[str]) -> list[str]:
    """The arguments, without the folder if the job is read-only.

    Raises:
        ConfigError: A folder is given to another job that does not write to Hydra's folder.
    """
    jobs = [argument.partition("=")[2] for argument in arguments if argument.startswith("job=")]
    given = [argument for argument in arguments if argument.lstrip("+").startswith("hydra.run.dir=")]
    if given and jobs and jobs[-1] in _READ_ONLY:
        return [argument for argument in arguments if argument not in given]
    if given and jobs and jobs[-1] != "train" and jobs[-1] in READS:
        raise ConfigError(f"hydra.run.dir is where job=train writes; job={jobs[-1]} has no such folder: remove it")
    return list(arguments)


def _leave_others(code: int) -> NoReturn:
    """End this process, one of several in a failed run."""
    from dmtc.machine.processes import current_processes

    sys.stdout.flush()
    sys.stderr.flush()
    if current_processes.cache_info().currsize:
        current_processes().wait_until_reported(by_this=current_processes().ending(code)[0])
    os._exit(code)  # a regular exit could wait forever for the other processes


def _join_others() -> None:
    """Wait for the others. All compose the same config, but only the first prints and lets Hydra make a folder.

    Raises:
        ConfigError: The command is a sweep, whose jobs run in one process each.
    """
    from dmtc.machine.processes import current_processes

    first = current_processes().is_first
    if sys.argv[1:2] in (["-m"], ["--multirun"]):
        raise ConfigError("a sweep (-m) runs one process per job: drop torchrun, or give it one job at a time")
    if not first:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # stays open for the life of the process
        sys.argv.append("hydra.run.dir=.")


def _task(cfg: DictConfig) -> float | None:
    """One job, as Hydra calls it."""
    global _stopped_job, _began
    _began = True
    if _stopped_job:
        raise _stopped_job
    folder = _folder()
    try:
        return _run(cfg, folder)
    except KeyboardInterrupt as stopped:
        reports, code = _ending(stopped.exit_code if isinstance(stopped, RunStopped) else 130)
        if reports:
            hint = f"; resume with: {command(f'resume={folder}')}" if (folder / "config.yaml").is_file() else ""
            show(f"\n{str(stopped) or 'stopped'}{hint}", sys.stderr)
        if _is_launched_elsewhere():
            _stopped_job = JobStopped(code)
            raise _stopped_job from None
        raise  # ends a whole sweep: Hydra continues only after an `Exception`, which this is not
    except Exception as error:
        job = HydraConfig.get()
        if job.mode == RunMode.MULTIRUN:
            raise  # this job's line reports it, and the sweep continues
        if OmegaConf.select(cfg, "run.debug", throw_on_resolution_failure=False) is True:
            traceback.print_exc()
        raise SystemExit(_report(error)) from None


_stopped_job: JobStopped | None = None
"""What stopped an earlier job of a sweep in this process; it then starts no more jobs."""


def _is_launched_elsewhere() -> bool:
    """Whether this job of a sweep was started by a launcher other than Hydra's basic one."""
    job = HydraConfig.get()
    return job.mode == RunMode.MULTIRUN and job.runtime.choices["hydra/launcher"] != "basic"


def _folder() -> Path:
    """Hydra's folder. Several processes use the first one's, because the name contains the time."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    if not started_together():
        return folder
    from dmtc.machine.processes import current_processes

    return current_processes().broadcast(lambda: folder)


def _run(cfg: DictConfig, folder: Path) -> float | None:
    # Imported here so `--help` and a misspelled option do not load torch.
    from dmtc.cli.jobs import JOBS
    from dmtc.engine.checks import settle
    from dmtc.tracking.progress import show_messages

    overrides = HydraConfig.get().overrides.task
    drop_leftovers(cfg, overrides, HydraConfig.get().runtime.choices)
    given, config = given_keys(overrides), resolved(cfg)
    if isinstance(config.get("run"), dict):
        show_messages(config["run"].get("progress"))
    job = config.get("job")
    name = str(job.get("name")) if isinstance(job, dict) else "train"
    refuse_unread(name, given)
    if config.get("resume") is not None:
        return _resume(cfg, overrides)
    config = settle(cfg, JOBS)
    refuse_unread(name, given, config)
    return JOBS.build(config["job"], "job", config=config, folder=folder, given=given)


def _resume(cfg: DictConfig, overrides: Sequence[str]) -> float:
    """Resume a run; options given along with `resume=` must not change its results."""
    from dmtc.api.launch import resume
    from dmtc.cli.jobs import JOBS
    from dmtc.config.imports import import_modules
    from dmtc.engine.checks import settle
    from dmtc.run.changes import refuse_changes
    from dmtc.run.folder import RunFolder
    from dmtc.run.moved import is_place

    stored = RunFolder.existing(cfg.resume).read_config()
    requested = resolved(cfg)
    import_modules(requested.get("imports", ()))  # they may register what the run was trained with from Python
    named = zip(given_keys(overrides), overrides, strict=True)
    keys = [key for key, override in named if key != "resume" and not _names_own(override, stored)]
    before, after = ({key: _selected(config, key) for key in keys} for config in (stored, requested))
    refuse_changes(before, after, "resume= keeps the run's own settings")
    run = resume(
        cfg.resume,
        {key.removeprefix("run."): value for key, value in after.items() if key.startswith("run.")},
        settle(cfg, JOBS)["logger"] if any(key.partition(".")[0] == "logger" for key in keys) else None,
        {key: value for key, value in after.items() if is_place(key)},
    )
    show(read_regular(run.folder.path / "results.txt").decode())
    return run.results["miou"]["mean_last"]


def _names_own(override: str, stored: Mapping[str, Any]) -> bool:
    """Whether an override chooses what the run already has, such as its data set, just to change its options."""
    group, equals, name = override.partition("=")
    own = stored.get(group) if equals else None
    return isinstance(own, Mapping) and own.get("name") == name


def _selected(config: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key, or None."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _report(error: BaseException) -> int:
    """Print an error once and return its exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    text = code = None
    if isinstance(error, HydraException | OmegaConfBaseException):
        error = fault_of_composing(error)
    if isinstance(error, UserError):
        text, code = str(error), 2
    elif isinstance(error, TrainingError):
        text, code = str(error), 1
    elif isinstance(error, OSError):
        text, code = explain_os_error(error)  # inside a run, these errors are explained in more detail
    reports, code = _ending(code or 1)
    if reports and text is None:
        traceback.print_exception(error)
    elif reports:
        show(f"error: {in_one_line(str(text))}", sys.stderr)
    return code


def _ending(code: int) -> tuple[bool, int]:
    """Whether to report a failure, and the exit code: of several processes one reports, and all exit with its code."""
    if not started_together():
        return True, code
    from dmtc.machine.processes import current_processes

    # Processes that never connected cannot agree on anything.
    return current_processes().ending(code) if current_processes.cache_info().currsize else (True, code)
