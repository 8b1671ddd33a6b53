"""Guards a run's folder: what must not be there before the run starts, and what must not be written into it later."""

import contextlib
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from dmtc.core.errors import ConfigError
from dmtc.core.files import is_temporary, remove_empty
from dmtc.core.ownership import is_inside, require_folder
from dmtc.run.folder import RunFolder
from dmtc.run.stored import holds_config
from dmtc.run.sweep_folder import STATUS_NAME, read_status

_OF_EVERY_RUN = {"dataset", "loss", "schedule"}
"""Keys of every run's config, to tell it from another program's config.yaml."""

_PARTS = ("phases", "pseudo_labels", "report", "pictures", "tensorboard", "wandb")
"""Subfolders of a run folder that hold only the run's own files."""

_FIRST_FILES = ("config.yaml", "settings.json", "environment.json", "split.json", "task.json", "plan.json", ".lock")


def refuse_foreign(folder: RunFolder) -> None:
    """Refuse to start a run among files that do not belong to a run; nothing is touched.

    Raises:
        ConfigError: The folder holds such files, or the path is not a folder.
        DataError: It holds a run whose config is damaged.
    """
    require_folder(folder.path, "hydra.run.dir")
    if not folder.path.is_dir() or (folder.config_path.is_file() and holds_config(folder.config_path, _OF_EVERY_RUN)):
        return
    foreign = sorted(path.name for path in folder.path.iterdir() if not _is_startup_file(path))
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise ConfigError(
            f"{folder.path} holds files that do not belong to a run ({foreign[0]}{more}): nothing is written there;"
            " choose a folder that is new or empty, with hydra.run.dir=DIR"
        )


def _is_startup_file(path: Path) -> bool:
    """Whether a file was left by a run killed before it wrote its config, or was made just before a run."""
    if path.name == STATUS_NAME:
        return read_status(path.parent) is not None
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    of_hydra = () if hydra is None else (hydra.output_subdir, f"{hydra.job.name}.log")
    return path.name == ".lock" or path.name in of_hydra or is_temporary(path.name)


def refuse_own_parts(folder: RunFolder, path: Path, option: str) -> None:
    """Refuse to write other output where a run keeps its own files.

    Raises:
        ConfigError: The path is one of the run's own folders, or inside one.
    """
    for part in (folder.path / name for name in _PARTS):
        if is_inside(path, part):
            raise ConfigError(f"{option}={path} lies in {part}, which is the run's own; choose another place")


def undo(folder: RunFolder) -> None:
    """Delete what a new run wrote before its first phase, and its folder if it is then empty."""
    for name in _FIRST_FILES:
        with contextlib.suppress(OSError):
            (folder.path / name).unlink()
    remove_empty([folder.path])
