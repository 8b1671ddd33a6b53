"""The command line: Hydra around the jobs, and exit codes that mean something.

0 done; 2 the user's fault (config, data, paths), told in one line; 1 anything else; 130 stopped by Ctrl-C, 143 by
SIGTERM or SIGUSR1.
"""

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
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
from dmtc.config.options import READS, given_keys, refuse_unread
from dmtc.config.overrides import translate
from dmtc.core.errors import ConfigError, TrainingError, UserError
from dmtc.core.files import read_regular
from dmtc.core.markup import in_one_line
from dmtc.core.system_errors import explain_os_error
from dmtc.machine.interruption import JobStopped, RunStopped, ended_in_order
from dmtc.machine.torchrun import started_together
from dmtc.machine.waiting import wait_passively


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; leaves by `SystemExit`."""
    code = _main(sys.argv[1:] if arguments is None else arguments)
    if code and started_together():
        _leave_others(code)
    if code:
        raise SystemExit(code)


def _main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    global _began
    wait_passively()  # before torch is imported
    _began = False
    forget_loaded()
    # Hydra would print its own traceback and always exit with 1; with this it hands errors to us.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    task = hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")(_task)
    try:
        sys.argv[1:] = _without_folder(translate(arguments))
        if started_together():
            _join_others()
        # One of several processes may wait for the others where no handler is run: it has to end at once.
        with nullcontext() if started_together() else ended_in_order():
            task()
    except (RunStopped, JobStopped) as stopped:
        return stopped.exit_code
    except KeyboardInterrupt:
        return 130
    except Refused as refused:
        return _report(refused.error)
    except Exception as error:
        # Until a job begins, files and overrides alone are at work; Hydra then makes its folder.
        return _report(error if _began or isinstance(error, OSError) else fault_of_composing(error))
    except BaseException as error:
        return _report(error)
    finally:
        remove_what_is_empty()
    return 0


_began = False
"""Whether a job has begun in this process."""


_LOOKING = ("check", "plan")
"""Jobs that write nothing. A folder may be given to them: what is checked and planned is the command of a run."""


def _without_folder(arguments: Sequence[str]) -> list[str]:
    """The arguments without a folder for a job that only looks; refuse one for any other that has none of Hydra's.

    Raises:
        ConfigError: One is given.
    """
    jobs = [argument.partition("=")[2] for argument in arguments if argument.startswith("job=")]
    given = [argument for argument in arguments if argument.lstrip("+").startswith("hydra.run.dir=")]
    if given and jobs and jobs[-1] in _LOOKING:
        return [argument for argument in arguments if argument not in given]
    if given and jobs and jobs[-1] != "train" and jobs[-1] in READS:
        raise ConfigError(f"hydra.run.dir is where job=train writes; job={jobs[-1]} has no such folder: leave it away")
    return list(arguments)


def _leave_others(code: int) -> NoReturn:
    """End this process of several, which have failed."""
    from dmtc.machine.processes import current_processes

    sys.stdout.flush()
    sys.stderr.flush()
    if current_processes.cache_info().currsize:
        current_processes().wait_until_reported(by_this=current_processes().ending(code)[0])
    os._exit(code)  # whatever waits for the others at a regular exit would wait for ever


def _join_others() -> None:
    """Wait for the others. All compose the same config; the first one alone prints and has Hydra make a folder.

    Raises:
        ConfigError: A sweep, whose jobs are of one process each.
    """
    from dmtc.machine.processes import current_processes

    first = current_processes().is_first
    if sys.argv[1:2] in (["-m"], ["--multirun"]):
        raise ConfigError("a sweep (-m) has one process a job: leave torchrun away, or give it one job at a time")
    if not first:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # for as long as this process lives
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
        telling, code = _ending(stopped.exit_code if isinstance(stopped, RunStopped) else 130)
        if telling:
            way_on = f"; go on with: python run.py resume={folder}" if (folder / "config.yaml").is_file() else ""
            print(f"\n{str(stopped) or 'stopped'}{way_on}", file=sys.stderr)
        if _is_launched_elsewhere():
            _stopped_job = JobStopped(code)
            raise _stopped_job from None
        raise  # in a sweep this ends all of it: Hydra goes on after exceptions that are errors only
    except Exception as error:
        job = HydraConfig.get()
        if job.mode == RunMode.MULTIRUN:
            raise  # told by the line of this job; the sweep goes on
        if OmegaConf.select(cfg, "run.debug", throw_on_resolution_failure=False) is True:
            traceback.print_exc()
        raise SystemExit(_report(error)) from None


_stopped_job: JobStopped | None = None
"""What stopped an earlier job of a sweep in this process, which then begins no other."""


def _is_launched_elsewhere() -> bool:
    """Whether this is a job of a sweep that has not the sweep's own process."""
    job = HydraConfig.get()
    return job.mode == RunMode.MULTIRUN and job.runtime.choices["hydra/launcher"] != "basic"


def _folder() -> Path:
    """The folder that Hydra has made; of several processes, the one of the first, as its name tells the time."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    if not started_together():
        return folder
    from dmtc.machine.processes import current_processes

    return current_processes().broadcast(lambda: folder)


def _run(cfg: DictConfig, folder: Path) -> float | None:
    # Imported here: `--help` and a misspelt option need no torch.
    from dmtc.cli.jobs import JOBS
    from dmtc.engine.checks import settle
    from dmtc.tracking.progress import show_messages

    overrides = HydraConfig.get().overrides.task
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
    """Go on with a run; what is given along with `resume=` must not change its results."""
    from dmtc.api.launch import resume
    from dmtc.cli.jobs import JOBS
    from dmtc.engine.checks import settle
    from dmtc.run.changes import refuse_changes
    from dmtc.run.folder import RunFolder
    from dmtc.run.moved import is_place

    stored = RunFolder.existing(cfg.resume).read_config()
    asked = resolved(cfg)
    named = zip(given_keys(overrides), overrides, strict=True)
    keys = [key for key, override in named if key != "resume" and not _names_own(override, stored)]
    before, after = ({key: _selected(config, key) for key in keys} for config in (stored, asked))
    refuse_changes(before, after, "resume= goes on with the run's own settings")
    run = resume(
        cfg.resume,
        {key.removeprefix("run."): value for key, value in after.items() if key.startswith("run.")},
        settle(cfg, JOBS)["logger"] if any(key.partition(".")[0] == "logger" for key in keys) else None,
        {key: value for key, value in after.items() if is_place(key)},
    )
    print(read_regular(run.folder.path / "results.txt").decode())
    return run.results["miou"]["mean_last"]


def _names_own(override: str, stored: Mapping[str, Any]) -> bool:
    """Whether an override chooses what a run has, such as its data set, for the sake of options that differ."""
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
    """Tell an error once and return the exit code it means."""
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
        text, code = explain_os_error(error)  # once a run has its folder, such errors say more
    telling, code = _ending(code or 1)
    if telling and text is None:
        traceback.print_exception(error)
    elif telling:
        print(f"error: {in_one_line(str(text))}", file=sys.stderr)
    return code


def _ending(code: int) -> tuple[bool, int]:
    """Whether to tell of a failure, and the code to exit with: of several processes one tells, and all exit alike."""
    if not started_together():
        return True, code
    from dmtc.machine.processes import current_processes

    # If they never found each other there is nobody to ask.
    return current_processes().ending(code) if current_processes.cache_info().currsize else (True, code)
