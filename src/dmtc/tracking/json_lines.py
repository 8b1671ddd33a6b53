"""metrics.jsonl: the log of a run from which everything else can be made."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from dmtc.core.files import read_regular, require_regular, write_atomically
from dmtc.tracking.tracker import Record


class JsonLines:
    """A file with one JSON object per line.

    Args:
        path: The file; new records are appended.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _opened(path)

    def log(self, record: Record) -> None:
        """Write one line and flush it, so a crash loses nothing.

        Raises:
            OSError: The line cannot be written; the error names the file.
        """
        try:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def keep(self, phase: str, count: int) -> list[dict[str, Any]]:
        """Drop all but the first `count` records of a phase, and any truncated line; returns the dropped records."""
        lines = _lines(self._path)
        records = _records(lines)
        of_phase = [record for record in records if record.get("phase") == phase]
        dropped = of_phase[count:]
        if dropped or len(records) < len(lines):
            kept = [record for record in records if not any(record is one for one in dropped)]
            self._file.close()
            write_atomically(self._path, "".join(json.dumps(record) + "\n" for record in kept))
            self._file = _opened(self._path)
        return dropped

    def finish(self, results: Mapping[str, Any]) -> None:
        """Close the file; results.json holds the results."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        # Errors such as a full disk were already reported by `log`.
        with contextlib.suppress(OSError):
            self._file.close()


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON lines file in order, without truncated lines; empty if there is no file.

    Examples:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "metrics.jsonl"
        >>> _ = path.write_text(json.dumps({"phase": "r0-a", "step": 20, "loss": 1.5}))
        >>> read_records(path)
        [{'phase': 'r0-a', 'step': 20, 'loss': 1.5}]
    """
    return _records(_lines(path))


def _lines(path: Path) -> list[str]:
    return read_regular(path).decode(errors="replace").splitlines() if path.is_file() else []


def _records(lines: list[str]) -> list[dict[str, Any]]:
    return [record for line in lines if (record := _parsed(line)) is not None]


def _opened(path: Path) -> TextIO:
    if path.exists() and str(path) != os.devnull:
        require_regular(path)
        if path.is_symlink() or path.stat().st_nlink > 1:  # do not append to a file shared with others
            write_atomically(path, read_regular(path))
    return open(path, "a", encoding="utf-8")


def _parsed(line: str) -> dict[str, Any] | None:
    """A record, or None for a truncated line."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None
