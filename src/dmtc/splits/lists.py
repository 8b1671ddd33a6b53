"""Lists of images in the layouts that papers publish, each line turned into an id of the data set."""

import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from dmtc.data.dataset import few
from dmtc.data.listed import IMAGE_SUFFIXES, numbered_lines
from dmtc.errors import DataError

_SUFFIX = "|".join(map(re.escape, IMAGE_SUFFIXES))
# Names may hold blanks, so a blank ends the path of an image only behind the suffix of a file.
_IMAGE_OF_PAIR = re.compile(rf"(.+?(?:{_SUFFIX}))\s", re.IGNORECASE)
_FINAL_SUFFIX = re.compile(rf"(?:{_SUFFIX})$", re.IGNORECASE)
_CITYSCAPES_TAIL = "_leftImg8bit"  # part of every image's file name, but not of every list's


def read_list(path: Path, known: Collection[str]) -> tuple[str, ...]:
    """Read a list of images.

    A line is an id of the data set, else the path of an image, perhaps with that of its mask behind a blank or a tab;
    masks are passed over. A path need not be one on this machine: it stands for the id that is left when its suffix and
    some leading folders are taken off, or else for the only id with the same last part, where `_leftImg8bit` at the end
    does not count.

    Args:
        path: A text file with one image a line, in the layout of DMT, UniMatch, ST++, CPS or U2PL.
        known: Every id that may be listed.

    Returns:
        The ids, in the order of the file.

    Raises:
        DataError: The file cannot be read or is empty, an entry is none or could be several of the known ids, or an
            image is listed twice.

    Examples:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "labeled.txt"
        >>> _ = path.write_text("JPEGImages/2007_000032.jpg SegmentationClass/2007_000032.png")
        >>> read_list(path, known={"2007_000032", "2007_000039"})
        ('2007_000032',)
    """
    lines = numbered_lines(path)
    if not lines:
        raise DataError(f"{path}: no ids in it")
    names = _Names(known)
    found = [(number, line, names.find(line)) for number, line in lines]
    unknown = [(number, line) for number, line, ids in found if not ids]
    if unknown:
        number, line = unknown[0]
        raise DataError(
            f"{path}, line {number}: {line!r} is no training image of this data set ({len(unknown)} of {len(lines)} "
            f"entries are none); its first ids are {few(list(known)) or 'missing'}"
        )
    first: dict[str, int] = {}
    for number, line, ids in found:
        if len(ids) > 1:
            raise DataError(f"{path}, line {number}: {line!r} could be any of {few(ids)}; write the id itself")
        if ids[0] in first:
            raise DataError(f"{path}, line {number}: {line!r} repeats line {first[ids[0]]}; remove one")
        first[ids[0]] = number
    return tuple(first)


class _Names:
    """What the known ids may be called in a list."""

    def __init__(self, known: Collection[str]) -> None:
        self.ids = frozenset(known)
        self.by_last_part: dict[str, list[str]] = defaultdict(list)
        for id in self.ids:
            self.by_last_part[_last_part(id)].append(id)

    def find(self, line: str) -> list[str]:
        """The ids that a line may stand for: one if all is well."""
        if line in self.ids:
            return [line]
        path = line.partition("\t")[0].strip()
        pair = _IMAGE_OF_PAIR.match(path)
        parts = _FINAL_SUFFIX.sub("", pair[1] if pair else path).split("/")
        for start in range(len(parts)):
            id = "/".join(parts[start:])
            if id in self.ids:
                return [id]
        return self.by_last_part.get(_last_part(parts[-1]), [])


def _last_part(id: str) -> str:
    return id.rpartition("/")[2].removesuffix(_CITYSCAPES_TAIL)
