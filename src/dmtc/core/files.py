"""Atomic writes: a reader, or a run resumed after a crash, never sees a partial file.

A process killed at any moment leaves either the old file or the new one. After a power cut, the new name may still hold
an empty file unless the data was synced to disk first. Files that mark other work as done are synced; files that can be
checked and rebuilt are not, because a run has thousands of pseudo-label files and each sync costs milliseconds.
"""

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from dmtc.core.errors import DataError

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be deleted
    fcntl = None

_UNFINISHED = ".part"
_TEMPORARY = re.compile(r"\.(?:.*\.)?[0-9a-f]{32}\.part(?:\.mp4)?", re.DOTALL)
WORK = "unfinished"
"""Base name of a temporary folder inside another one."""

_SHOWN = 64
"""How many bytes of the final name a temporary name keeps: it must fit the file system's limit, which is in bytes."""


@contextmanager
def replacing(path: str | os.PathLike[str], durable: bool = False, suffix: str = "") -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it to `path` on success. Creates missing folders.

    On failure, removes the temporary file and any folders created for it.

    Args:
        path: The file to write.
        durable: Sync the file to disk before renaming it.
        suffix: End of the temporary name, for libraries that pick a format by extension.

    Raises:
        OSError: The file cannot be written; the error always names `path`.
    """
    path = Path(path)
    try:
        with _folders_above(path):
            temporary = _temporary(path, suffix)
            try:
                with _held(temporary, folder=False):
                    yield temporary
                    if durable:
                        with open(temporary, "rb") as file:
                            os.fsync(file.fileno())
                    os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def write_atomically(path: str | os.PathLike[str], data: bytes | str, durable: bool = False) -> None:
    """Write under a temporary name beside `path`, then rename. Creates missing folders.

    Raises:
        OSError: The file cannot be written; the error always names `path`.
    """
    with replacing(path, durable) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as indented JSON, atomically and durably: it is small, and other files rely on it."""
    write_atomically(path, json.dumps(value, indent=2) + "\n", durable=True)


@contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path` and rename it to `path` on success.

    Only then is an existing folder deleted, with everything in it: the caller must know that all of it is ours. A
    reader sees the old folder, briefly none, or the new one, never a partial one.

    Raises:
        OSError: The folder cannot be written; the error names `path` or a file in it.
    """
    path = Path(path)
    with _folders_above(path), _working_folder(_temporary(path), path) as temporary:
        yield temporary
        if os.path.lexists(path):
            old = _temporary(path)
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)


@contextmanager
def adding_to_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder inside an existing one, to move files from; it is deleted at the end.

    Raises:
        OSError: A file cannot be written; the error gives the file's final name.
    """
    with _working_folder(_temporary(Path(path, WORK)), Path(path)) as temporary:
        yield temporary


@contextmanager
def _working_folder(temporary: Path, final: Path) -> Iterator[Path]:
    try:
        with _held(temporary, folder=True):
            yield temporary
    except OSError as error:
        named = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else final
        shown = final / named.relative_to(temporary) if named.is_relative_to(temporary) else named
        raise OSError(error.errno, error.strerror or str(error), str(shown)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_unfinished(folder: str | os.PathLike[str]) -> None:
    """Delete temporary files that killed writers left behind, in a folder and its subfolders.

    Deletes only exact temporary names made by this module, and none that a live process is writing.
    """
    for above, folders, files in os.walk(folder):  # links are not followed
        for name in [*folders, *files]:
            if is_temporary(name):
                _remove_abandoned(Path(above, name))
        folders[:] = [name for name in folders if not is_temporary(name)]


def remove_unfinished_of(path: Path) -> None:
    """Delete the abandoned temporary files beside `path` that would have become `path`."""
    beginning = _temporary(path).name[: -len(f"{uuid.uuid4().hex}{_UNFINISHED}")]
    if path.parent.is_dir():
        for name in os.listdir(path.parent):
            if is_temporary(name) and name.startswith(beginning):
                _remove_abandoned(path.with_name(name))


def is_temporary(name: str) -> bool:
    """Whether a name is exactly of the form that this module gives to unfinished files and folders."""
    return _TEMPORARY.fullmatch(name) is not None


def _temporary(path: Path, suffix: str = "") -> Path:
    """A random name beside `path`; process ids would collide between machines that share a folder."""
    shown = os.fsencode(path.name)[:_SHOWN].decode(errors="ignore")
    try:
        return path.with_name(f".{shown}.{uuid.uuid4().hex}{_UNFINISHED}{suffix}")
    except ValueError:  # "/" or "." cannot be a file
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path)) from None


@contextmanager
def _folders_above(path: Path) -> Iterator[None]:
    """Create a file's parent folders; if the write fails, remove the ones that were created."""
    made = []
    if not path.parent.is_dir():
        made = [folder for folder in path.parents if not os.path.lexists(folder)]
    try:
        if made or not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        remove_empty(made)
        raise


def remove_empty(folders: list[Path]) -> None:
    """Delete the given folders if they are empty. List the innermost first."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


@contextmanager
def _held(temporary: Path, folder: bool) -> Iterator[None]:
    """Create a file or folder and lock it, so that other processes see it is in use; the lock dies with the process."""
    if fcntl is None:
        if folder:
            temporary.mkdir()
        yield
        return
    while True:
        if folder:
            temporary.mkdir()
            descriptor = os.open(temporary, os.O_RDONLY)
        else:
            descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        with contextlib.suppress(OSError):  # without locks, cleanup cannot lock the file either and leaves it alone
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if temporary.exists():
            break
        os.close(descriptor)  # another process's cleanup deleted it before the lock was taken
    try:
        yield
    finally:
        os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    """Delete a temporary file or folder unless a live process holds it or its lock cannot be checked."""
    with contextlib.suppress(OSError):
        mode = path.lstat().st_mode
        folder = stat.S_ISDIR(mode)
        if not folder and not stat.S_ISREG(mode):
            return
        if fcntl is None:
            shutil.rmtree(path, ignore_errors=True) if folder else path.unlink()
            return
        descriptor = os.open(path, (os.O_RDONLY if folder else os.O_RDWR) | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True) if folder else path.unlink()
        finally:
            os.close(descriptor)


_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def require_regular(path: str | os.PathLike[str]) -> None:
    """Refuse anything but a regular file. Opens nothing, because opening a pipe would wait for a writer.

    Raises:
        DataError: The path is a folder, pipe, socket or device.
        OSError: The path does not exist or cannot be reached.
    """
    _refuse_special(path, os.stat(path).st_mode)


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file for reading bytes. Never blocks, even if the file is replaced in the meantime.

    Raises:
        DataError: The path is a folder, pipe, socket or device.
        OSError: The file cannot be opened.
    """
    require_regular(path)  # before opening, which has side effects on devices such as tapes and terminals
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _refuse_special(path, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """Read all bytes of a regular file; see `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def _refuse_special(path: str | os.PathLike[str], mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "special file")
        raise DataError(f"{os.fspath(path)} is a {kind}, not a regular file")
