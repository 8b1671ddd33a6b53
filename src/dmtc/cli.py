"""The command line: Hydra around the jobs, and exit codes that mean something.

0 done; 2 the user's fault (config, data, paths), told in one line; 1 anything else; 130 stopped by Ctrl-C.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from dmtc.config import config_folder, known_keys, settle
from dmtc.errors import ConfigError, TrainingError, UserError
from dmtc.hydra_errors import one_line

# Settings of a run that cannot change its results, and so may differ when it is resumed.
_FREE_TO_CHANGE = ("device", "workers", "progress", "log_every", "debug", "pictures", "score_pseudo_labels")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; leaves by `SystemExit`."""
    sys.argv[1:] = translate(sys.argv[1:] if arguments is None else arguments)
    # Hydra would print its own traceback and always exit with 1; with this it hands errors to us.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    task = hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")(_task)
    try:
        task()
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
    except KeyboardInterrupt:
        folder = HydraConfig.get().runtime.output_dir
        print(f"\nstopped; go on with: python run.py resume={folder}", file=sys.stderr)
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
    from dmtc.runs import resume

    folder = Path(HydraConfig.get().runtime.output_dir)
    if cfg.resume is not None:
        run = resume(cfg.resume, _free_settings(HydraConfig.get().overrides.task, cfg))
        print((run.folder.path / "results.txt").read_text())
        return run.results["miou"]["mean_last"]
    config = settle(cfg)
    return JOBS.build(config["job"], "job", config=config, folder=folder)


def _free_settings(overrides: Sequence[str], cfg: DictConfig) -> dict[str, object]:
    """The settings given along with `resume=`, which must not change results."""
    given = [override.partition("=")[0].lstrip("+~") for override in overrides]
    changing = [key for key in given if key != "resume" and key.removeprefix("run.") not in _FREE_TO_CHANGE]
    if changing:
        raise ConfigError(
            f"resume= goes on with the run's own settings; {', '.join(changing)} cannot be changed "
            f"(what can: {', '.join('run.' + key for key in _FREE_TO_CHANGE)})"
        )
    names = [key.removeprefix("run.") for key in given if key.startswith("run.")]
    return {name: cfg.run[name] for name in names}


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
    traceback.print_exception(error)
    return 1


def _message(error: BaseException) -> str:
    if isinstance(error, HydraException | OmegaConfBaseException):
        return one_line(error, known_keys())
    return str(error)


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
