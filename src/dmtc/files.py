"""Writing files so that a reader, or a run that goes on after a crash, never sees half of one.

Killing a process at any moment leaves the old file or the new one. A power cut could still leave an empty file under
the new name, unless the disk was asked to have it first: that is done for what marks other things as done, and left out
for what can be checked and made again (a run has thousands of pseudo-label files, and every wait costs milliseconds).
"""

import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from dmtc.errors import DataError

_UNFINISHED = ".part"


@contextmanager
def replacing(path: str | os.PathLike[str], durable: bool = False) -> Iterator[Path]:
    """A temporary name beside `path`, which takes its place at the end if nothing went wrong; folders are made.

    Args:
        path: The file to write.
        durable: Wait until the disk has it before it gets its name.

    Raises:
        OSError: It cannot be written; the error always names `path`.
    """
    path = Path(path)
    # Random, as process numbers repeat between the containers and machines that may share a folder.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_UNFINISHED}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: str | os.PathLike[str], data: bytes | str, durable: bool = False) -> None:
    """Write under a temporary name beside `path`, then rename; folders are made as needed.

    Raises:
        OSError: It cannot be written; the error always names `path`.
    """
    with replacing(path, durable) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as indented JSON, atomically and durably: it is small, and others rely on it."""
    write_atomically(path, json.dumps(value, indent=2) + "\n", durable=True)


def remove_unfinished(folder: str | os.PathLike[str]) -> None:
    """Delete what writers that were killed have left under temporary names, in a folder and those inside it."""
    for path in Path(folder).rglob(f".*{_UNFINISHED}"):
        path.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder beside `path`, which takes its place at the end if nothing went wrong.

    A folder that is already there goes only then, and all of it. A reader sees the old one, for a moment none, or the
    new one; never half of one.

    Raises:
        OSError: It cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_UNFINISHED}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            old = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_UNFINISHED}")
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def require_regular(path: str | os.PathLike[str]) -> None:
    """Refuse what is there but no file with an end; nothing is opened, as opening a pipe would wait for a writer.

    Raises:
        DataError: It is a folder, a pipe, a socket or a device.
        OSError: Nothing is there, or it cannot be reached.
    """
    _refuse_special(path, os.stat(path).st_mode)


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading bytes. It never waits, whatever takes the file's place meanwhile.

    Raises:
        DataError: It is a folder, a pipe, a socket or a device.
        OSError: It cannot be opened.
    """
    require_regular(path)  # first: opening alone can already do something, as with a tape or a terminal
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _refuse_special(path, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a regular file; see `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def _refuse_special(path: str | os.PathLike[str], mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "special file")
        raise DataError(f"{os.fspath(path)} is a {kind}, not a regular file")
