"""The command line: Hydra around the jobs, and exit codes that mean something.

0 done; 2 the user's fault (config, data, paths), told in one line; 1 anything else; 130 stopped by Ctrl-C, 143 by
SIGTERM or SIGUSR1.
"""

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dmtc.config import config_folder, in_hydras_terms, known_keys, settle
from dmtc.errors import ConfigError, TrainingError, UserError
from dmtc.hydra_errors import one_line
from dmtc.interruption import JobStopped, RunStopped
from dmtc.output_folder import Refused, remove_what_is_empty
from dmtc.system_errors import told
from dmtc.torchrun import started_together


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; leaves by `SystemExit`."""
    code = _main(sys.argv[1:] if arguments is None else arguments)
    if code and started_together():
        _leave_others(code)
    if code:
        raise SystemExit(code)


def _main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    sys.argv[1:] = translate(arguments)
    # Hydra would print its own traceback and always exit with 1; with this it hands errors to us.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    task = hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")(_task)
    try:
        if started_together():
            _join_others()
        task()
    except (RunStopped, JobStopped) as stopped:
        return stopped.exit_code
    except KeyboardInterrupt:
        return 130
    except Refused as refused:
        return _report(refused.error)
    except BaseException as error:
        return _report(error)
    finally:
        remove_what_is_empty()
    return 0


def _leave_others(code: int) -> NoReturn:
    """End this process of several, which have failed."""
    from dmtc.processes import joined

    sys.stdout.flush()
    sys.stderr.flush()
    if joined.cache_info().currsize:
        joined().wait_until_told(by_this=joined().ending(code)[0])
    os._exit(code)  # whatever waits for the others at a regular exit would wait for ever


def _join_others() -> None:
    """Wait for the others. All compose the same config; the first one alone prints and has Hydra make a folder.

    Raises:
        ConfigError: A sweep, whose jobs are of one process each.
    """
    from dmtc.processes import joined

    first = joined().is_first
    if sys.argv[1:2] in (["-m"], ["--multirun"]):
        raise ConfigError("a sweep (-m) has one process a job: leave torchrun away, or give it one job at a time")
    if not first:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # for as long as this process lives
        sys.argv.append("hydra.run.dir=.")


_SHORT = ("runs", "input", "output")
"""Options of jobs whose values are paths and can be given without `job.`."""


def translate(arguments: Sequence[str]) -> list[str]:
    """Put what people type into Hydra's terms.

    `run=DIR` means the folder of an earlier run unless it is a choice of the group `run`; `runs=`, `input=`, `output=`
    and `format=` are options of the job; paths may hold any character; a resumed run writes into its own folder; and
    `model_b` is a group as `model` is.
    """
    translated = []
    for argument in [*_groups_of_run(arguments), *arguments]:
        key, equals, value = argument.partition("=")
        if key == "run" and equals and not (config_folder() / "run" / f"{value}.yaml").is_file():
            translated.append(f"run_dir={_quoted(value)}")
        elif key in _SHORT and equals:
            translated.append(f"job.{key}={_quoted(value)}")
        elif key == "format" and equals:
            translated.append(f"job.{argument}")  # as it is: a sweep may be over several
        elif key == "resume" and value and value != "null":
            folder = _quoted(str(Path(value).absolute()))
            translated += [f"resume={folder}", f"hydra.run.dir={folder}"]
        elif argument in ("-m", "--multirun"):
            translated.insert(0, argument)  # Hydra's parser knows it before the overrides only
        else:
            translated.append(in_hydras_terms(argument))
    return translated


def _groups_of_run(arguments: Sequence[str]) -> list[str]:
    """The data set and split of the run that a command is about, where it gives options of theirs but not them."""
    given = {key: value for key, equals, value in (argument.partition("=") for argument in arguments) if equals}
    run = given.get("resume") or given.get("run")
    groups = [
        group for group in ("dataset", "split") if group not in given and any(k.startswith(f"{group}.") for k in given)
    ]
    if not run or not groups or not (Path(run) / "config.yaml").is_file():
        return []
    from dmtc.run_folder import RunFolder

    try:
        stored = RunFolder(run).read_config()
        names = {group: str(stored[group]["name"]) for group in groups}
    except (UserError, LookupError, TypeError):
        return []  # told by whoever needs it
    return [f"{group}={name}" for group, name in names.items() if (config_folder() / group / f"{name}.yaml").is_file()]


def _task(cfg: DictConfig) -> float | None:
    """One job, as Hydra calls it."""
    global _stopped_job
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
        if cfg.run.get("debug"):
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
    from dmtc.processes import joined

    return joined().first_says(lambda: folder)


def _run(cfg: DictConfig, folder: Path) -> float | None:
    # Imported here: `--help` and a misspelt option need no torch.
    from dmtc.jobs import JOBS
    from dmtc.progress import show_messages

    show_messages(cfg.run.progress)
    if cfg.resume is not None:
        return _resume(cfg, HydraConfig.get().overrides.task)
    config = settle(cfg)
    return JOBS.build(config["job"], "job", config=config, folder=folder)


def _resume(cfg: DictConfig, overrides: Sequence[str]) -> float:
    """Go on with a run; what is given along with `resume=` must not change its results."""
    from dmtc.changes import refuse_changes
    from dmtc.launch import resume
    from dmtc.moved import is_place
    from dmtc.run_folder import RunFolder

    stored = RunFolder.existing(cfg.resume).read_config()
    # `group@package` gives a package, which may be another than the group's own name.
    given = [(override.partition("=")[0].lstrip("+~").rpartition("@")[2], override) for override in overrides]
    keys = [key.replace("/", ".") for key, override in given if key != "resume" and not _names_own(override, stored)]
    asked = {key: OmegaConf.select(cfg, key) for key in keys}
    plain = {key: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for key, v in asked.items()}
    before = {key: OmegaConf.select(OmegaConf.create(stored), key) for key in keys}
    refuse_changes(before, plain, "resume= goes on with the run's own settings")
    run = resume(
        cfg.resume,
        {key.removeprefix("run."): value for key, value in plain.items() if key.startswith("run.")},
        settle(cfg)["logger"] if any(key.partition(".")[0] == "logger" for key in keys) else None,
        {key: value for key, value in plain.items() if is_place(key)},
    )
    print((run.folder.path / "results.txt").read_text())
    return run.results["miou"]["mean_last"]


def _names_own(override: str, stored: Mapping[str, Any]) -> bool:
    """Whether an override chooses what a run has, such as its data set, for the sake of options that differ."""
    group, equals, name = override.partition("=")
    own = stored.get(group) if equals else None
    return isinstance(own, Mapping) and own.get("name") == name


def _report(error: BaseException) -> int:
    """Tell an error once and return the exit code it means."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    text = code = None
    if isinstance(error, UserError | HydraException | OmegaConfBaseException):
        text, code = _message(error), 2
    elif isinstance(error, TrainingError):
        text, code = _message(error), 1
    elif isinstance(error, OSError):
        text, code = told(error)  # once a run has its folder, such errors say more
    telling, code = _ending(code or 1)
    if telling and text is None:
        traceback.print_exception(error)
    elif telling:
        print(f"error: {text}", file=sys.stderr)
    return code


def _ending(code: int) -> tuple[bool, int]:
    """Whether to tell of a failure, and the code to exit with: of several processes one tells, and all exit alike."""
    if not started_together():
        return True, code
    from dmtc.processes import joined

    # If they never found each other there is nobody to ask.
    return joined().ending(code) if joined.cache_info().currsize else (True, code)


def _message(error: BaseException) -> str:
    if isinstance(error, HydraException | OmegaConfBaseException):
        return one_line(error, known_keys())
    return str(error)


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
