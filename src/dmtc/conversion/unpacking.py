"""Unpacks zip archives of annotation tools, which may come from anyone."""

import lzma
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from dmtc.core.errors import DataError

_SMALL = 1 << 28  # bytes that any archive may unpack to
_MOST_TIMES = 200  # how many times its size a larger one may; label files and masks pack by less than 100
_MOST_FILES = 1_000_000

_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What `zipfile` raises for archives that are damaged, encrypted or packed in an unknown way."""


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip archive. Hidden files and the folder __MACOSX are left out.

    Raises:
        DataError: The archive is damaged or encrypted, unpacks to too much, or has a link or a path that leads outside.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            entries = [entry for entry in packed.infolist() if not entry.is_dir()]
            _refuse_bomb(archive, entries, folder)
            for entry in entries:
                parts = _parts(archive, entry)
                if any(part.startswith(".") or part == "__MACOSX" for part in parts):
                    continue
                path = folder.joinpath(*parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.exists():
                    raise DataError(f"{archive}: {entry.filename!a} is in it twice")
                with packed.open(entry) as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target)
    except DataError:
        raise
    except (FileExistsError, NotADirectoryError):
        raise DataError(f"{archive}: a name in it stands for a file and a folder") from None
    except _DAMAGED as error:
        raise DataError(f"{archive}: cannot be unpacked ({' '.join(str(error).split())[:100]})") from None


def _refuse_bomb(archive: Path, entries: list[zipfile.ZipInfo], folder: Path) -> None:
    total, size = sum(entry.file_size for entry in entries), archive.stat().st_size
    if len(entries) > _MOST_FILES:
        raise DataError(f"{archive}: holds {len(entries)} files, which is too many")
    if total > _SMALL and total > _MOST_TIMES * size:
        raise DataError(f"{archive}: {size / 1e6:.1f} MB would unpack to {total / 1e6:.0f} MB; unpack it yourself")
    free = shutil.disk_usage(folder).free
    if total > free:
        raise DataError(f"{archive}: unpacks to {total / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free at the output")


def _parts(archive: Path, entry: zipfile.ZipInfo) -> tuple[str, ...]:
    name = entry.filename.replace("\\", "/")
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or ":" in name or not parts or not name.isprintable():
        raise DataError(f"{archive}: the path {entry.filename!a} in it leads outside or cannot be a name")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise DataError(f"{archive}: {entry.filename!a} in it is a link")
    return parts
