"""Image ids: which are allowed, and the file names derived from them."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, surrogates, line and paragraph separators
_READABLE_BYTES = 120  # with hash and suffix, well below the 255 bytes that file systems allow


def id_fault(id: str) -> str | None:
    """Say what is wrong with an id, or return None: `aachen/aachen_000000` is fine; `../x`, `/x` and `a//b` are not."""
    if not id:
        return "it is empty"
    if id[0] in "/\\" or re.match(r"[A-Za-z]:[/\\]", id):
        return "it begins at the root of the file system"
    parts = re.split(r"[/\\]", id)
    if ".." in parts:
        return "it leaves the data set's folder"
    if "" in parts or "." in parts:
        return "a part of it is empty"
    if any(unicodedata.category(letter) in _UNPRINTABLE for letter in id):
        return "it holds characters that cannot be printed"
    return None


def bad_ids(ids: Iterable[str]) -> list[str]:
    """A phrase for each invalid id, in sorted order."""
    faults = ((id, id_fault(id)) for id in sorted(ids))
    return [f"{id!a} ({fault})" for id, fault in faults if fault is not None]


def file_name(id: str) -> str:
    """File name for an id, without a suffix: flat, readable, of limited length, and unique to the id."""
    readable = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in id)[:80]
    digest = hashlib.sha256(id.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{readable.encode()[:_READABLE_BYTES].decode(errors='ignore')}-{digest}"
