"""Reads text files of a data set as saved by editors on any system."""

import codecs
from pathlib import Path

from dmtc.core.errors import DataError
from dmtc.core.files import read_regular

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LARGEST = 1 << 28  # bytes: more than a list of millions of images has, to catch a video given as a list


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 with a byte order mark; the mark is dropped.

    Notepad, Excel and PowerShell write such marks, which are invisible in a terminal.

    Raises:
        DataError: The file is missing, too large, not a regular file, or not text.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path}: too large for a text file ({path.stat().st_size} bytes)")
        content = read_regular(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # null byte in the path
        raise DataError(f"{str(path)!a}: cannot be read ({error})") from error
    encoding = "utf-16" if content.startswith(_UTF16) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}: {error.reason}); save it as UTF-8") from error
    if "\0" in text:
        raise DataError(f"{path}: not UTF-8 text (it holds zero bytes); save it as UTF-8")
    return text
