"""Checkpoints of an unfinished phase: the last two, with damage detected.

A checkpoint is one `torch.save` file with only tensors and plain values. Its name holds the step and the start of its
SHA-256, so a truncated or damaged file is detected without trusting its content, and the previous one is used instead.
That is also why nothing here waits for the disk: a power cut can cost only the newer of two files.
"""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from dmtc.core.files import open_regular, replacing

_KEPT = 2
_NAME = re.compile(r"checkpoint-(\d+)-([0-9a-f]{16})\.pt")


class Checkpoints:
    """The checkpoints of one phase.

    Args:
        folder: Holds the checkpoints; it need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write a checkpoint, then delete all but the last two.

        Args:
            step: Optimizer steps done.
            state: Tensors, numbers, strings, lists and dictionaries.

        Returns:
            The file.

        Raises:
            OSError: It cannot be written; the earlier checkpoints remain.
        """
        # The final name contains the hash, which is known only after writing.
        nameless = self.folder / "checkpoint.pt"
        with replacing(nameless) as unfinished:
            digest = _write(state, unfinished)
        path = nameless.replace(self.folder / f"checkpoint-{step:08d}-{digest[:16]}.pt")
        for old in self._files()[_KEPT:]:
            old.unlink(missing_ok=True)
        return path

    def load(self, damaged: Callable[[Path], None]) -> dict[str, Any] | None:
        """The last undamaged checkpoint, with its tensors on the CPU; None if there is none.

        Args:
            damaged: Called with each damaged file, which is then deleted.
        """
        for path in self._files():
            with open_regular(path) as file:
                if hashlib.file_digest(file, "sha256").hexdigest().startswith(path.stem.rpartition("-")[2]):
                    return torch.load(path, map_location="cpu", weights_only=True)
            damaged(path)
            path.unlink()
        return None

    def last(self) -> Path | None:
        """The newest file."""
        return next(iter(self._files()), None)

    def remove(self) -> None:
        """Delete all checkpoints, because the phase is done."""
        for path in [*self._files(), self.folder / "checkpoint.pt"]:
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """Newest first."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        numbered = [(int(match[1]), path) for path in found if (match := _NAME.fullmatch(path.name))]
        return [path for _, path in sorted(numbered, reverse=True)]


def _write(state: dict[str, Any], path: Path) -> str:
    """Save the state and return the file's SHA-256."""
    with path.open("wb") as file:
        hashing = _Hashing(file)
        try:
            torch.save(state, hashing)  # pyright: ignore[reportArgumentType]  # it only calls write and flush
        except RuntimeError as error:
            # torch reports a full disk as an unexpected file position.
            raise hashing.error or error from None
    return hashing.digest.hexdigest()


class _Hashing:
    """A writable file that hashes what is written."""

    def __init__(self, file: BinaryIO) -> None:
        self.digest = hashlib.sha256()
        self.error: OSError | None = None
        self._file = file

    def write(self, data: bytes) -> int:
        try:
            self._file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.digest.update(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()
