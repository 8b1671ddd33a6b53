"""Finds image and mask files in folders, and reads lines of text files."""

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dmtc.core.errors import DataError
from dmtc.core.files import require_regular
from dmtc.data.dataset import few
from dmtc.data.text import read_text

log = logging.getLogger(__name__)

_SECOND_IMAGES = (".gif", ".jfif", ".jpe", ".ppm", ".pgm")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", *_SECOND_IMAGES)
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
ANY_MASK_SUFFIXES = (*MASK_SUFFIXES, ".webp", ".jpg", ".jpeg", *_SECOND_IMAGES, ".npy")
"""Mask suffixes in arbitrary folders. Whether a format is lossy is determined from the file's content."""

SECOND_SUFFIXES = (*_SECOND_IMAGES, ".npy")
"""Files with these suffixes count only if no other file has the same name: they are often previews or copies."""


def find_files(
    folder: Path,
    suffixes: Sequence[str],
    wanted: Callable[[str, Path], bool] | None = None,
    any_name: bool = False,
) -> dict[str, Path]:
    """Find every file below a folder with one of the suffixes, by id. Skips hidden files and folders.

    Links to folders are followed, because data sets often span several disks. A link to an enclosing folder is skipped
    with a warning.

    Args:
        folder: Where to look.
        suffixes: File suffixes, in lower case.
        wanted: Decides from id and path whether to include a file; by default, all are included.
        any_name: Accept several files with the same id and keep the first, if only the ids matter.

    Returns:
        Paths by id, in the order of ids. An id is the path inside the folder without its suffix, with `/`.

    Raises:
        DataError: Two files have the same id; one message covers all such cases.
    """
    found: dict[str, Path] = {}
    twice = []
    for path in sorted(files_below(folder)):
        if path.suffix.lower() not in suffixes:
            continue
        id = path.relative_to(folder).with_suffix("").as_posix()
        if wanted is not None and not wanted(id, path):
            continue
        if id in found:
            if any_name or path.suffix.lower() in SECOND_SUFFIXES:
                continue
            if found[id].suffix.lower() in SECOND_SUFFIXES:
                found[id] = path
                continue
            twice.append(f"{found[id]} and {path} have the same id {id!r}")
        else:
            found[id] = path
    if twice:
        raise DataError(f"{few(twice)}; keep one file of each ({len(twice)} in {folder})")
    return dict(sorted(found.items()))


def files_below(folder: Path, around: tuple[tuple[int, int], ...] = ()) -> Iterator[Path]:
    """Yield every file below a folder except hidden ones; links to folders are followed.

    Args:
        folder: Where to look.
        around: Device and inode of the enclosing folders, to detect loops of links.

    Raises:
        DataError: A folder cannot be read, or a path with a picture's suffix is a pipe, socket or device.
    """
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    here = (status.st_dev, status.st_ino)
    if here in around:
        log.warning("%s is a link to a folder around it and is skipped", folder)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            yield from files_below(folder / entry.name, (*around, here))
        else:
            if not _is_file(entry) and Path(entry.name).suffix.lower() in ANY_MASK_SUFFIXES:
                _refuse_special(folder / entry.name)
            yield folder / entry.name


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _refuse_special(path: Path) -> None:
    try:
        require_regular(path)
    except OSError:  # a broken link, reported when it is read
        return
    except DataError as error:
        raise DataError(f"{error}; remove it from the data set") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, reported when it is read
        return False


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The stripped, non-empty lines of a text file with their line numbers from 1.

    Raises:
        DataError: The file is missing, not a regular file, or not text.
    """
    # Not splitlines, which also splits at characters that names may hold, such as U+2028.
    lines = enumerate(re.split(r"\r\n|\n|\r", read_text(path)), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def read_lines(path: Path) -> list[str]:
    """The lines of `numbered_lines` without their numbers."""
    return [line for _, line in numbered_lines(path)]
