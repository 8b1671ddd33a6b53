"""Writing files so that a reader, or a run that goes on after a crash, never sees half of one.

Killing a process at any moment leaves the old file or the new one. A power cut could still leave an empty file under
the new name, unless the disk was asked to have it first: that is done for what marks other things as done, and left out
for what can be checked and made again (a run has thousands of pseudo-label files, and every wait costs milliseconds).
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
except ImportError:  # Windows, where nobody can delete a file that is open
    fcntl = None

_UNFINISHED = ".part"
_TEMPORARY = re.compile(r"\.(?:.*\.)?[0-9a-f]{32}\.part(?:\.mp4)?", re.DOTALL)
WORK = "unfinished"
"""What a temporary folder inside another one is called after."""

_SHOWN = 64
"""Bytes of a final name in a temporary one, which has to fit wherever the final one does: systems count bytes."""


@contextmanager
def replacing(path: str | os.PathLike[str], durable: bool = False, suffix: str = "") -> Iterator[Path]:
    """A temporary name beside `path`, which takes its place at the end if nothing went wrong; folders are made.

    If something went wrong, neither the file nor a folder that was made for it is left.

    Args:
        path: The file to write.
        durable: Wait until the disk has it before it gets its name.
        suffix: End of the temporary name, for libraries that go by it.

    Raises:
        OSError: It cannot be written; the error always names `path`.
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
    """Write under a temporary name beside `path`, then rename; folders are made as needed.

    Raises:
        OSError: It cannot be written; the error always names `path`.
    """
    with replacing(path, durable) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as indented JSON, atomically and durably: it is small, and others rely on it."""
    write_atomically(path, json.dumps(value, indent=2) + "\n", durable=True)


@contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder beside `path`, which takes its place at the end if nothing went wrong.

    A folder that is already there goes only then, and all of it: whoever calls this knows that all of it is ours. A
    reader sees the old one, for a moment none, or the new one; never half of one.

    Raises:
        OSError: It cannot be written; the error names `path` or a file in it.
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
    """A temporary folder inside a folder that is there, from which files can be moved into it; then it is gone.

    Raises:
        OSError: It cannot be written; the error names a file as it will be called.
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
    """Delete what writers that were killed have left under temporary names, in a folder and those inside it.

    Nothing else goes: no file whose name is not exactly as made here, and none that a living process is writing.
    """
    for above, folders, files in os.walk(folder):  # links are not followed
        for name in [*folders, *files]:
            if is_temporary(name):
                _remove_abandoned(Path(above, name))
        folders[:] = [name for name in folders if not is_temporary(name)]


def remove_unfinished_of(path: Path) -> None:
    """The same for what was to become `path`, beside it."""
    beginning = _temporary(path).name[: -len(f"{uuid.uuid4().hex}{_UNFINISHED}")]
    if path.parent.is_dir():
        for name in os.listdir(path.parent):
            if is_temporary(name) and name.startswith(beginning):
                _remove_abandoned(path.with_name(name))


def is_temporary(name: str) -> bool:
    """Whether a file or folder is called exactly as the writers here call what is unfinished."""
    return _TEMPORARY.fullmatch(name) is not None


def _temporary(path: Path, suffix: str = "") -> Path:
    """A name beside `path`: random, as process numbers repeat between machines that may share a folder."""
    shown = os.fsencode(path.name)[:_SHOWN].decode(errors="ignore")
    try:
        return path.with_name(f".{shown}.{uuid.uuid4().hex}{_UNFINISHED}{suffix}")
    except ValueError:  # the root, or ".", which no file can be
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path)) from None


@contextmanager
def _folders_above(path: Path) -> Iterator[None]:
    """Make the folders around a file; if it cannot be written after all, those that were made go again."""
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
    """Delete those of some folders that are empty; the innermost come first."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


@contextmanager
def _held(temporary: Path, folder: bool) -> Iterator[None]:
    """Make a file or folder, and tell other processes that somebody writes it; that ends with this process."""
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
        with contextlib.suppress(OSError):  # a file system without locks: nobody can tell, and nobody deletes
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if temporary.exists():
            break
        os.close(descriptor)  # somebody who tidied up was quicker
    try:
        yield
    finally:
        os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    """Delete a temporary file or folder unless a process that is alive holds it, or that cannot be told."""
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
    """Refuse what is there but no file with an end; nothing is opened, as opening a pipe would wait for a writer.

    Raises:
        DataError: It is a folder, a pipe, a socket or a device.
        OSError: Nothing is there, or it cannot be reached.
    """
    _refuse_special(path, os.stat(path).st_mode)


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
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
