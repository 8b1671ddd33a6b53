"""Lists of images, in every layout that people and papers write: each line is turned into an id of the data set."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from dmtc.core.errors import DataError
from dmtc.data.dataset import few
from dmtc.data.listed import IMAGE_SUFFIXES, MASK_SUFFIXES, numbered_lines
from dmtc.data.part_names import part_of, part_of_id

_SUFFIX = "|".join(map(re.escape, sorted({*IMAGE_SUFFIXES, *MASK_SUFFIXES, ".gif", ".npy", ".npz"})))
# Names may hold blanks and commas, so these end the path of an image only behind the suffix of a file.
_IMAGE_OF_PAIR = re.compile(rf"(.+?(?:{_SUFFIX}))[\"']?[\s,;]", re.IGNORECASE)
_FINAL_SUFFIX = re.compile(rf"(?:{_SUFFIX})$", re.IGNORECASE)
_CITYSCAPES_TAIL = "_leftImg8bit"  # part of every image's file name, but not of every list's


def read_ids(
    path: Path,
    known: Collection[str],
    what: str = "image",
    also: Mapping[str, Sequence[str]] | None = None,
    partial: bool = False,
) -> tuple[str, ...]:
    """Read a list of images. Every list of a data set or split is read by this.

    A line is an id of the data set, else the path of an image, perhaps with that of its mask behind a blank, a tab or a
    comma; masks are passed over. A path need not be one on this machine, and may have slashes of either kind: it stands
    for the id that is left when its suffix and some leading folders are taken off, or else for the only id with the
    same last part, where `_leftImg8bit` at the end does not count, and neither does an image of another part: a path in
    a folder val never stands for an image in a folder train. Empty lines, and lines that begin with `#`, are passed
    over.

    Args:
        path: A text file with one image a line, in the layout of DMT, UniMatch, ST++, CPS, U2PL, SegNet or PaddleSeg.
        known: Every id that may be listed.
        what: What these are, for messages.
        also: Other names of ids, by name.
        partial: Pass over entries that are none of the known ids: they are elsewhere.

    Returns:
        The ids, in the order of the file.

    Raises:
        DataError: The file cannot be read or is empty, an entry is none or could be several of the known ids, or an
            image is listed twice.

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
    """What the known ids may be called in a list."""

    def __init__(self, known: Collection[str], also: Mapping[str, Sequence[str]]) -> None:
        self.ids = frozenset(known)
        self.also = also
        self.by_last_part: dict[str, list[str]] = defaultdict(list)
        for id in sorted(self.ids):
            self.by_last_part[_last_part(id)].append(id)

    def find(self, line: str) -> list[str]:
        """The ids that a line may stand for: one if all is well."""
        if line in self.ids:
            return [line]
        for text in _images_of(line):
            if found := self._find_path(text):
                return found
        # Two columns without suffixes are two only where both are one image: names may hold blanks.
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
        """Whether an id may lie in these folders: one of a part called val is none of a part called train."""
        own = part_of_id(id)
        said = {part for folder in folders[-2:] if (part := part_of(folder)) is not None}
        return own is None or not said or own in said


def _images_of(line: str) -> Iterator[str]:
    """What in a line may be the path of the image, the likeliest first, with slashes of one kind."""
    plain = line.strip("\"'")
    pair = _IMAGE_OF_PAIR.match(line)
    for text in (plain.partition("\t")[0], *([pair[1]] if pair else []), plain.partition(",")[0]):
        yield text.strip().strip("\"'")
        yield text.strip().strip("\"'").replace("\\", "/")


def _last_part(id: str) -> str:
    return id.rpartition("/")[2].removesuffix(_CITYSCAPES_TAIL)


def _shown(line: str) -> str:
    """An entry as it stands, but short, and with what no terminal shows made visible."""
    short = line if len(line) <= 120 else f"{line[:117]}..."
    return repr(short)
