"""The folder that Hydra makes for a command: looked at before it is made, and gone again if nothing came into it."""

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
"""Folders that this command makes, the innermost first."""


class Refused(BaseException):
    """A folder must not be used. No `Exception`: Hydra only warns of those in what it calls before a run.

    Args:
        error: Why.
    """

    def __init__(self, error: UserError | OSError) -> None:
        super().__init__(str(error))
        self.error = error


def look_at_folder_of_run(config: DictConfig) -> None:
    """Before a single run.

    Raises:
        Refused: There is no run to go on with, or a new one would begin among files that are no run's.
    """
    if started_together():
        return  # all but the first have no folder of their own, and the first looks before it writes
    with _refusing():
        folder = Path(str(OmegaConf.select(config, "hydra.run.dir"))).absolute()
        if config.get("resume") is not None or OmegaConf.select(config, "job.name") == "train":
            # Imported here: a misspelt option needs no torch.
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
    """Before a sweep.

    Raises:
        Refused: Its folder holds files that are no sweep's.
    """
    with _refusing():
        from dmtc.run.sweep_folder import SweepFolder

        folder = Path(str(OmegaConf.select(config, "hydra.sweep.dir"))).absolute()
        require_folder(folder, "hydra.sweep.dir")
        SweepFolder(folder).refuse_foreign()
        _note(folder)


def remove_what_is_empty() -> None:
    """Delete the folders that were made for this command and have stayed empty."""
    remove_empty(_made)
    _made.clear()


def _note(folder: Path) -> None:
    _made[:] = [one for one in (folder, *folder.parents) if not os.path.lexists(one)]


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except (UserError, OSError) as error:
        raise Refused(error) from None
