"""Reads image lists in every common layout; each line is matched to an id of the data set."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from dmtc.core.errors import DataError
from dmtc.data.dataset import few
from dmtc.data.listed import IMAGE_SUFFIXES, MASK_SUFFIXES, numbered_lines
from dmtc.data.part_names import part_of, part_of_id

_SUFFIX = "|".join(map(re.escape, sorted({*IMAGE_SUFFIXES, *MASK_SUFFIXES, ".gif", ".npy", ".npz"})))
# Names may hold blanks and commas, so these end an image path only after a file suffix.
_IMAGE_OF_PAIR = re.compile(rf"(.+?(?:{_SUFFIX}))[\"']?[\s,;]", re.IGNORECASE)
_FINAL_SUFFIX = re.compile(rf"(?:{_SUFFIX})$", re.IGNORECASE)
_CITYSCAPES_TAIL = "_leftImg8bit"  # part of every image's file name, but not of the names in every list


def read_ids(
    path: Path,
    known: Collection[str],
    what: str = "image",
    also: Mapping[str, Sequence[str]] | None = None,
    partial: bool = False,
) -> tuple[str, ...]:
    """Read a list of images. All lists of data sets and splits are read by this function.

    A line is an id of the data set, or the path of an image, optionally followed by a blank, tab or comma and the path
    of its mask, which is ignored. A path need not exist on this machine and may use either kind of slash. It means the
    id that remains without its suffix and some leading folders; failing that, the only id with the same last part,
    where a final `_leftImg8bit` does not count. Parts are kept apart: a path in a folder val never matches an image in
    a folder train. Empty lines and lines that begin with `#` are skipped.

    Args:
        path: A text file with one image per line, in the layout of DMT, UniMatch, ST++, CPS, U2PL, SegNet or PaddleSeg.
        known: Every id that may be listed.
        what: What the ids are, for messages.
        also: Ids by alternative name.
        partial: Skip entries that match no known id, because their images are elsewhere.

    Returns:
        The ids, in the order of the file.

    Raises:
        DataError: The file cannot be read or is empty, an entry matches none or several of the known ids, or an image
            is listed twice.

    Examples:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "labeled.txt"
        >>> _ = path.write_text("JPEGImages/2007_000032.jpg SegmentationClass/2007_000032.png")
        >>> read_ids(path, known={"2007_000032", "2007_000039"})
        ('2007_000032',)
    """
    names = _Names(known, also or {})
    lines = [(number, line) for number, line in numbered_lines(path) if not line.startswith("#") or line in names.ids]
    if not lines:
        raise DataError(f"{path}: no ids in it")
    found = [(number, line, names.find(line)) for number, line in lines]
    unknown = [(number, line) for number, line, ids in found if not ids]
    if unknown and not partial:
        number, line = unknown[0]
        raise DataError(
            f"{path}, line {number}: {_shown(line)} is no {what} of this data set ({len(unknown)} of {len(lines)} "
            f"entries are none); its first ids are {few(list(known)) or 'missing'}"
        )
    first: dict[str, int] = {}
    for number, line, ids in found:
        if len(ids) > 1:
            raise DataError(f"{path}, line {number}: {_shown(line)} could be any of {few(ids)}; write the id itself")
        if not ids:
            continue
        if ids[0] in first:
            raise DataError(f"{path}, line {number}: {_shown(line)} repeats line {first[ids[0]]}; remove one")
        first[ids[0]] = number
    return tuple(first)


class _Names:
    """Matches list entries to the known ids."""

    def __init__(self, known: Collection[str], also: Mapping[str, Sequence[str]]) -> None:
        self.ids = frozenset(known)
        self.also = also
        self.by_last_part: dict[str, list[str]] = defaultdict(list)
        for id in sorted(self.ids):
            self.by_last_part[_last_part(id)].append(id)

    def find(self, line: str) -> list[str]:
        """The ids that a line may mean; exactly one if the line is valid."""
        if line in self.ids:
            return [line]
        for text in _images_of(line):
            if found := self._find_path(text):
                return found
        # Names may hold blanks, so two columns without suffixes count as two only if both mean the same image.
        for gap in re.finditer(r"\s+", line):
            first, second = self._find_path(line[: gap.start()]), self._find_path(line[gap.end() :])
            if first and first == second:
                return first
        return []

    def _find_path(self, text: str) -> list[str]:
        if text in self.ids:
            return [text]
        parts = [part for part in _FINAL_SUFFIX.sub("", text).split("/") if part not in ("", ".")]
        for start in range(len(parts)):
            id = "/".join(parts[start:])
            if id in self.ids:
                return [id]
        if not parts:
            return []
        fitting = self.by_last_part.get(_last_part(parts[-1])) or self.also.get(parts[-1], ())
        return [id for id in fitting if self._agree(parts[:-1], id)]

    @staticmethod
    def _agree(folders: Sequence[str], id: str) -> bool:
        """Whether an id may be in these folders: an id of a train part is never in a folder called val."""
        own = part_of_id(id)
        named = {part for folder in folders[-2:] if (part := part_of(folder)) is not None}
        return own is None or not named or own in named


def _images_of(line: str) -> Iterator[str]:
    """Candidates for the image path in a line, the likeliest first, also with backslashes replaced."""
    plain = line.strip("\"'")
    pair = _IMAGE_OF_PAIR.match(line)
    for text in (plain.partition("\t")[0], *([pair[1]] if pair else []), plain.partition(",")[0]):
        yield text.strip().strip("\"'")
        yield text.strip().strip("\"'").replace("\\", "/")


def _last_part(id: str) -> str:
    return id.rpartition("/")[2].removesuffix(_CITYSCAPES_TAIL)


def _shown(line: str) -> str:
    """Format an entry for a message: shortened, with invisible characters escaped."""
    short = line if len(line) <= 120 else f"{line[:117]}..."
    return repr(short)
