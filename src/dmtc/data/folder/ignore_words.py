"""Names in class lists that are not classes: words that mean "ignored" in annotation tools."""

import re
from collections.abc import Sequence

from dmtc.core.errors import DataError

LABELME = "__ignore__"
"""First line of labelme's lists; it means 255, and the second line means 0."""

_WORDS = {
    *("ignore", "ignored", "ignorelabel", "void", "nolabel", "unlabel", "unlabeled", "unlabelled", "notlabeled"),
    *("notlabelled", "unannotated", "notannotated", "dontcare", "donotcare", "unknown", "undefined", "unspecified"),
    *("invalid", "nodata", "outofroi", "na", "none", "null"),
}


def is_ignore_word(name: str) -> bool:
    """Whether a name means "not a class": ignore, void, unlabeled, ???, ..., in any spelling.

    Examples:
        >>> [is_ignore_word(name) for name in ("Void", "__ignore__", "don't care", "???", "road", "background")]
        [True, True, True, True, False, False]
    """
    letters = re.sub(r"[\W_]+", "", name.casefold())
    return letters in _WORDS or (not letters and bool(name.strip(" _-")))


def without_labelmes(names: Sequence[str], source: str) -> list[str]:
    """Drop labelme's `__ignore__`, which is 255 in its masks and therefore shifts no other class.

    Raises:
        DataError: It is in the middle of the list, where it would shift classes.
    """
    if LABELME not in names:
        return list(names)
    place = names.index(LABELME)
    if 0 < place < len(names) - 1:
        raise DataError(
            f"{source}: {LABELME} is number {place} of the names; it stands for 255 and is the first or the last of"
            " them, or the others would stand for other values"
        )
    return [name for name in names if name != LABELME]


def ignore_warning(names: Sequence[str], source: str) -> str | None:
    """A warning for classes whose names mean "ignored", or None."""
    suspect = [f"{place} is called {name!r}" for place, name in enumerate(names) if is_ignore_word(name)]
    if not suspect:
        return None
    first = next(name for name in names if is_ignore_word(name))
    return (
        f"class {', '.join(suspect)} and is learned like the others; if such pixels are to be ignored, write"
        f" `ignore: {first!r}` into classes.yaml, or dataset.ignore_value={names.index(first)} (names from {source})"
    )
