"""File ownership: the one rule for everything that writes.

A command replaces and removes only files that it wrote itself, or that an earlier command of the same kind recorded in
the folder's manifest (`.dmtc-<kind>.json`). If any other file is in the way, the command stops before writing and names
it. Output is never written into an input folder. Folders are compared by device and inode, not by spelling, so links,
`..`, letter case, hard links and mounts hide nothing.
"""

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from dmtc.core.errors import ConfigError, DataError
from dmtc.core.files import read_regular, write_atomically

Identity = tuple[int, int]
"""Device and inode of a file or folder: the same under all of its names."""


def identity(path: Path) -> Identity | None:
    """Identify what a path points to, following links; None if nothing is there."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path is the given folder or lies inside it. The path need not exist yet.

    Examples:
        >>> is_inside(Path("/tmp/../usr/new/one"), Path("/usr"))
        True
    """
    path, folder = _resolved(path), _resolved(folder)
    if path.is_relative_to(folder):
        return True
    folder_identity = identity(folder)
    return folder_identity is not None and any(identity(p) == folder_identity for p in (path, *path.parents))


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve could raise on a loop of links


def require_folder(path: Path, option: str) -> None:
    """Refuse a path that is not a folder and cannot become one.

    Args:
        path: The folder; it need not exist yet.
        option: The setting that names it.

    Raises:
        ConfigError: The path is a file or a broken link.
        OSError: The path is too long, leads through a file, or cannot be reached.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise ConfigError(f"{option}={path} is a link to nothing; choose another folder") from None
        return
    if not stat.S_ISDIR(mode):
        raise ConfigError(f"{option}={path} is a file; choose a folder")


def require_own_file(path: Path, option: str, keys: set[str]) -> None:
    """Refuse to overwrite anything but an earlier JSON file of the same kind.

    Args:
        path: The file; it need not exist yet.
        option: The setting that names it.
        keys: Keys that every file of this kind has.

    Raises:
        ConfigError: The path is a folder, or a file of another kind.
        OSError: The path is too long, leads through a file, or cannot be reached.
    """
    if path.is_dir():
        raise ConfigError(f"{option}={path} is a folder; name a file")
    try:
        own = json.loads(read_regular(path)).keys() >= keys
    except FileNotFoundError:
        return
    except (ValueError, AttributeError, RecursionError):
        own = False
    if not own:
        raise ConfigError(
            f"{option}={path} exists and was not written by this job; it is left alone: name another file"
        )


class Manifest:
    """Records which files of a folder were written by commands of one kind.

    Args:
        folder: The folder; it need not exist.
        kind: The kind of command, such as "export"; manifests of other kinds are ignored.
        option: What the user calls the folder, for messages.
    """

    def __init__(self, folder: Path, kind: str, option: str) -> None:
        self.folder = folder
        self.path = folder / f".dmtc-{kind}.json"
        self._kind = kind
        self._job = kind.rpartition("-")[2]
        self._option = option

    def exists(self) -> bool:
        """Whether an earlier command left a manifest."""
        return os.path.lexists(self.path)

    def recorded(self) -> frozenset[str]:
        """The recorded files, as `/`-separated paths relative to the folder; folders end in `/`.

        Raises:
            ConfigError: The manifest is damaged, of another kind, or names a path outside the folder.
        """
        if not self.exists():
            return frozenset()
        try:
            content = json.loads(read_regular(self.path))
            files = _files_of(content, self._kind)
        except (OSError, DataError, ValueError, LookupError, TypeError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"{self.path} does not say which files here are dmtc's ({reason}); choose another {self._option}, or"
                f" delete it together with the files that an earlier job={self._job} wrote here"
            ) from None
        return files

    def refuse_foreign(self, names: Iterable[str]) -> None:
        """Refuse to overwrite existing files that are not recorded. Call this before writing anything.

        Args:
            names: The files to write, in the form of `recorded`.

        Raises:
            ConfigError: Such a file exists, or the manifest is damaged.
        """
        recorded = self.recorded()
        foreign = [n for n in names if os.path.lexists(self.folder / n) and not self._is_own(n, recorded)]
        if foreign:
            more = f" and {len(foreign) - 1} more files" if len(foreign) > 1 else ""
            were, are = ("were", "are") if len(foreign) > 1 else ("was", "is")
            raise ConfigError(
                f"{self.folder / foreign[0]}{more} {were} not written by an earlier job={self._job} and {are} left"
                f" alone; choose another {self._option}"
            )

    def record(self, names: Iterable[str]) -> None:
        """Add files to the manifest. Call this before writing them, so that none is ever left unrecorded.

        Raises:
            OSError: The manifest cannot be written.
        """
        self._write(self.recorded() | set(names))

    def forget_gone(self) -> None:
        """Drop files that no longer exist."""
        there = {name for name in self.recorded() if os.path.lexists(self.folder / name)}
        if there:
            self._write(there)
        else:
            self.path.unlink(missing_ok=True)

    def own(self, names: Iterable[str] | None = None) -> list[Path]:
        """Recorded files, optionally limited to `names`, that exist and are not links: safe to remove."""
        recorded = self.recorded()
        return [self.folder / n for n in sorted(recorded if names is None else names) if self._is_own(n, recorded)]

    def _is_own(self, name: str, recorded: frozenset[str]) -> bool:
        if name not in recorded:
            return False
        path = self.folder / name
        try:
            mode = path.lstat().st_mode
        except OSError:
            return False
        right = stat.S_ISDIR(mode) if name.endswith("/") else stat.S_ISREG(mode)
        # A linked folder along the path leads to other people's files.
        return right and _resolved(path).is_relative_to(_resolved(self.folder))

    def _write(self, names: Iterable[str]) -> None:
        content = {"kind": self._kind, "files": sorted(names)}
        write_atomically(self.path, json.dumps(content, indent=0) + "\n", durable=True)


def _files_of(content: Any, kind: str) -> frozenset[str]:
    if content["kind"] != kind:
        raise ValueError(f"it is of {content['kind']!r}")
    files = content["files"]
    if not isinstance(files, list):
        raise TypeError("it lists no files")
    for name in files:
        if not isinstance(name, str) or not _stays_inside(name):
            raise ValueError(f"it names {name!r}")
    return frozenset(files)


def _stays_inside(name: str) -> bool:
    """Whether a recorded name is a plain relative path inside the folder, in this module's spelling."""
    plain = name.removesuffix("/")
    path = PurePosixPath(plain)
    if "\0" in name or path.is_absolute() or ".." in path.parts or (os.name == "nt" and "\\" in name):
        return False
    return plain not in ("", ".") and str(path) == plain
