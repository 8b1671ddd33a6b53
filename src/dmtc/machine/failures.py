"""Machine failures (memory, disk, processes) as one-line errors that say what to do."""

from pathlib import Path

import torch

from dmtc.core.command import command
from dmtc.core.errors import TrainingError
from dmtc.core.system_errors import FORBIDDEN, FULL


class MachineError(TrainingError):
    """The machine failed during a run; nothing that was saved is lost."""


def explained(error: Exception, folder: Path, doing: str, memory: str, again: str | None = None) -> MachineError | None:
    """Turn a known machine failure into a readable error; return None for any other error.

    Args:
        error: The exception raised during a run.
        folder: The run's folder.
        doing: The activity, such as "training r1-a".
        memory: What uses device memory in it, and which options reduce that.
        again: How to continue, if not by resuming a run.
    """
    resume = command(f"resume={folder}") if again is None else again
    text = str(error).strip().partition("\n")[0]
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator: can't allocate" in text:
        return MachineError(f"out of memory while {doing}, with {memory} ({text or 'MemoryError'})")
    if isinstance(error, OSError) and error.errno in (*FULL, *FORBIDDEN) and _is_of(error, folder):
        what = "the disk is full" if error.errno in FULL else "the folder cannot be written"
        do = "Make room" if error.errno in FULL else "Make it writable"
        return MachineError(
            f"{what}: {error.filename or folder} ({error.strerror}) while {doing}. Nothing that was saved is lost. "
            f"{do}, then resume with: {resume}"
        )
    if isinstance(error, RuntimeError) and "DataLoader worker" in text:
        cause = f" ({error.__cause__})" if error.__cause__ and str(error.__cause__) not in text else ""
        return MachineError(
            f"a loader process died while {doing}: {text}{cause}. Usually memory is short, or shared memory "
            f"(/dev/shm; docker run --shm-size=8g). Go on with fewer of them: {resume} run.workers=1, or 0 for none"
        )
    return None


def _is_of(error: OSError, folder: Path) -> bool:
    """Whether the error is about a file of the run; unreadable data set files are handled elsewhere."""
    if error.filename is None:
        return error.errno in FULL  # no path is given, but nearly everything written belongs to the run
    return Path(str(error.filename)).is_relative_to(folder)
