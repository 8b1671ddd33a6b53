"""The command line: Hydra around the jobs, and exit codes that mean something.

0 done; 2 the user's fault (config, data, paths), told in one line; 1 anything else; 130 stopped by Ctrl-C, 143 by
SIGTERM or SIGUSR1.
"""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dmtc.config import config_folder, known_keys, settle
from dmtc.errors import TrainingError, UserError
from dmtc.hydra_errors import one_line
from dmtc.interruption import RunStopped


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; leaves by `SystemExit`."""
    sys.argv[1:] = translate(sys.argv[1:] if arguments is None else arguments)
    # Hydra would print its own traceback and always exit with 1; with this it hands errors to us.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    task = hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")(_task)
    try:
        task()
    except RunStopped as stopped:
        raise SystemExit(stopped.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BaseException as error:
        raise SystemExit(_report(error)) from None


def translate(arguments: Sequence[str]) -> list[str]:
    """Put what people type into Hydra's terms.

    `run=DIR` means the folder of an earlier run unless it is a choice of the group `run`, `runs=DIR` the folder of a
    sweep; paths may hold any character; and a resumed run writes into its own folder.
    """
    translated = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key == "run" and equals and not (config_folder() / "run" / f"{value}.yaml").is_file():
            translated.append(f"run_dir={_quoted(value)}")
        elif key == "runs" and equals:
            translated.append(f"job.runs={_quoted(value)}")
        elif key == "resume" and value and value != "null":
            folder = _quoted(str(Path(value).absolute()))
            translated += [f"resume={folder}", f"hydra.run.dir={folder}", "hydra.output_subdir=null"]
        elif argument in ("-m", "--multirun"):
            translated.insert(0, argument)  # Hydra's parser knows it before the overrides only
        else:
            translated.append(argument)
    return translated


def _task(cfg: DictConfig) -> float | None:
    """One job, as Hydra calls it."""
    try:
        return _run(cfg)
    except KeyboardInterrupt as stopped:
        # In a sweep this ends all of it: Hydra goes on after exceptions that are errors only.
        folder = Path(HydraConfig.get().runtime.output_dir)
        way_on = f"; go on with: python run.py resume={folder}" if (folder / "config.yaml").is_file() else ""
        print(f"\n{str(stopped) or 'stopped'}{way_on}", file=sys.stderr)
        raise
    except Exception as error:
        job = HydraConfig.get()
        if job.mode == RunMode.MULTIRUN:
            # Hydra goes on with the other jobs and raises this one's error at the end of the sweep.
            print(f"failed: {job.job.override_dirname}: {_message(error)}", file=sys.stderr)
            raise
        if cfg.run.get("debug"):
            traceback.print_exc()
        raise SystemExit(_report(error)) from None


def _run(cfg: DictConfig) -> float | None:
    # Imported here: `--help` and a misspelt option need no torch.
    from dmtc.jobs import JOBS
    from dmtc.progress import show_messages

    show_messages(cfg.run.progress)
    if cfg.resume is not None:
        return _resume(cfg, HydraConfig.get().overrides.task)
    config = settle(cfg)
    return JOBS.build(config["job"], "job", config=config, folder=Path(HydraConfig.get().runtime.output_dir))


def _resume(cfg: DictConfig, overrides: Sequence[str]) -> float:
    """Go on with a run; what is given along with `resume=` must not change its results."""
    from dmtc.changes import refuse_changes
    from dmtc.launch import resume
    from dmtc.run_folder import RunFolder

    stored = RunFolder.existing(cfg.resume).read_config()
    keys = [override.partition("=")[0].lstrip("+~").partition("@")[0].replace("/", ".") for override in overrides]
    keys = [key for key in keys if key != "resume"]
    asked = {key: OmegaConf.select(cfg, key) for key in keys}
    plain = {key: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for key, v in asked.items()}
    before = {key: OmegaConf.select(OmegaConf.create(stored), key) for key in keys}
    refuse_changes(before, plain, "resume= goes on with the run's own settings")
    run = resume(
        cfg.resume,
        {key.removeprefix("run."): value for key, value in plain.items() if key.startswith("run.")},
        settle(cfg)["logger"] if any(key.partition(".")[0] == "logger" for key in keys) else None,
    )
    print((run.folder.path / "results.txt").read_text())
    return run.results["miou"]["mean_last"]


def _report(error: BaseException) -> int:
    """Tell an error once and return the exit code it means."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, UserError | HydraException | OmegaConfBaseException):
        print(f"error: {_message(error)}", file=sys.stderr)
        return 2
    if isinstance(error, TrainingError):
        print(f"error: {_message(error)}", file=sys.stderr)
        return 1
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES) and error.filename:
        # Before a run has its folder; once it has, such errors say more.
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1 if error.errno == errno.ENOSPC else 2
    traceback.print_exception(error)
    return 1


def _message(error: BaseException) -> str:
    if isinstance(error, HydraException | OmegaConfBaseException):
        return one_line(error, known_keys())
    return str(error)


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
