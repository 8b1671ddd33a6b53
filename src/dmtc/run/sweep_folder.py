"""Layout of a sweep folder, apart from its runs. Only this module knows these file names.

sweep.json            the requested jobs in order, and why some could not be started
<job>/status.json     status of a job: running, done or failed, and why
report.html  report/  report on all runs
"""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from dmtc.core.errors import ConfigError, DataError
from dmtc.core.files import is_temporary, read_regular, write_json

STATUS_NAME = "status.json"

_LAUNCHERS = (".submitit", ".slurm")
_OURS = re.compile(rb"^ +app_name: dmtc$", re.MULTILINE)
"""Marks Hydra's record of a dmtc command."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job of a sweep.

    Attributes:
        name: The overrides that distinguish it from the other jobs.
        overrides: All its overrides.
        asked: When its command was given, in seconds since 1970.
        refused: Why it could not be started; None if it could.
    """

    name: str
    overrides: tuple[str, ...]
    asked: float
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """Status of a job.

    Attributes:
        overrides: Its overrides.
        state: A killed job stays "running".
        began: Seconds since 1970.
        ended: Seconds since 1970; None if it has not ended.
        miou: The mIoU it returned, if any.
        reason: Why it failed, in one line.
        traceback: Traceback of an unexpected error.
    """

    overrides: tuple[str, ...]
    state: Literal["running", "done", "failed"]
    began: float
    ended: float | None = None
    miou: float | None = None
    reason: str | None = None
    traceback: str | None = None

    @property
    def seconds(self) -> float:
        """How long it has taken, or is taking."""
        return (time.time() if self.ended is None else self.ended) - self.began


class SweepFolder:
    """The folder of a sweep.

    Args:
        path: It need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()

    def refuse_foreign(self) -> None:
        """Refuse to start a sweep among files that do not belong to a sweep; nothing is touched.

        Raises:
            ConfigError: The folder holds such files.
        """
        if not self.path.is_dir() or self.read_jobs():
            return
        foreign = sorted(path.name for path in self.path.iterdir() if not _is_of_sweeps(path))
        if foreign:
            more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
            raise ConfigError(
                f"{self.path} holds files that do not belong to a sweep ({foreign[0]}{more}): nothing is written"
                " there; choose a folder that is new or empty, with hydra.sweep.dir=DIR"
            )

    def write_jobs(self, jobs: Sequence[Job]) -> None:
        """Record the requested jobs, after those of earlier commands in the same folder."""
        known = {job.overrides: job for job in self.read_jobs()} | {job.overrides: job for job in jobs}
        write_json(self.path / "sweep.json", {"jobs": [asdict(job) for job in known.values()]})

    def read_jobs(self) -> list[Job]:
        """The requested jobs; empty if unknown."""
        content = _read(self.path / "sweep.json")
        try:
            return [Job(**{**job, "overrides": tuple(job["overrides"])}) for job in content["jobs"]] if content else []
        except (KeyError, TypeError):
            return []

    def statuses(self) -> list[Status]:
        """Statuses of all jobs that were started."""
        found = (read_status(folder) for folder in sorted(self.path.iterdir()) if folder.is_dir())
        return [status for status in found if status is not None]


def write_status(folder: Path, status: Status) -> None:
    """Write the status of a job into its folder."""
    write_json(folder / STATUS_NAME, asdict(status))


def read_status(folder: Path) -> Status | None:
    """The status of a job, or None if unknown."""
    content = _read(folder / STATUS_NAME)
    try:
        return Status(**{**content, "overrides": tuple(content["overrides"])}) if content else None
    except (KeyError, TypeError):
        return None


def _is_of_sweeps(path: Path) -> bool:
    """Whether a path in a sweep folder was left by a sweep of this or an earlier command, with or without runs."""
    if path.name == "multirun.yaml":
        try:
            return _OURS.search(read_regular(path)) is not None
        except (OSError, DataError):
            return False
    if path.is_dir():
        return (path / "config.yaml").is_file() or read_status(path) is not None or path.name in _LAUNCHERS
    return path.name == "optimization_results.yaml" or is_temporary(path.name)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
