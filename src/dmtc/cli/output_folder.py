"""Hydra's folder for a command: checked before it is made, and removed if it stays empty."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from dmtc.core.errors import UserError
from dmtc.core.files import remove_empty
from dmtc.core.ownership import require_folder
from dmtc.machine.torchrun import started_together

_made: list[Path] = []
"""Folders that this command creates, innermost first."""


class Refused(BaseException):
    """A folder must not be used. Not an `Exception`, because Hydra turns those into mere warnings in callbacks.

    Args:
        error: The reason.
    """

    def __init__(self, error: UserError | OSError) -> None:
        super().__init__(str(error))
        self.error = error


def look_at_folder_of_run(config: DictConfig) -> None:
    """Check the folder before a single run.

    Raises:
        Refused: There is no run to resume, or a new one would start among files that do not belong to a run.
    """
    if started_together():
        return  # only the first process has a folder of its own, and it checks before it writes
    with _errors_refused():
        folder = Path(str(OmegaConf.select(config, "hydra.run.dir"))).absolute()
        if config.get("resume") is not None or OmegaConf.select(config, "job.name") == "train":
            # Imported here so a misspelled option does not load torch.
            from dmtc.run.beginning import refuse_foreign
            from dmtc.run.folder import RunFolder

            if config.get("resume") is not None:
                RunFolder.existing(config.resume)
            else:
                refuse_foreign(RunFolder(folder))
        else:
            require_folder(folder, "hydra.run.dir")
        _note(folder)


def look_at_folder_of_sweep(config: DictConfig) -> None:
    """Check the folder before a sweep.

    Raises:
        Refused: It holds files that do not belong to a sweep.
    """
    with _errors_refused():
        from dmtc.run.sweep_folder import SweepFolder

        folder = Path(str(OmegaConf.select(config, "hydra.sweep.dir"))).absolute()
        require_folder(folder, "hydra.sweep.dir")
        SweepFolder(folder).refuse_foreign()
        _note(folder)


def remove_what_is_empty() -> None:
    """Delete the folders that were made for this command and stayed empty."""
    remove_empty(_made)
    _made.clear()


def _note(folder: Path) -> None:
    _made[:] = [one for one in (folder, *folder.parents) if not os.path.lexists(one)]


@contextmanager
def _errors_refused() -> Iterator[None]:
    try:
        yield
    except (UserError, OSError) as error:
        raise Refused(error) from None
