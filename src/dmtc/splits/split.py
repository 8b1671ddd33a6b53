"""A split as a value: lists of ids, their fingerprint, and checks to run before training."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from dmtc.core.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which training images are labelled.

    Attributes:
        name: The rule that made the split.
        ratio: The label ratio as written by the user, for reports.
        labelled: Ids whose masks are used.
        unlabelled: Ids whose masks, if any, are never opened for training.
        subsets: The labelled ids of each network, by its letter; with most rules, each network has all of them.

    Examples:
        >>> split = Split(
        ...     name="mine", ratio="1/2", labelled=("one",), unlabelled=("two",), subsets={"a": ("one",), "b": ("one",)}
        ... )
        >>> Split.from_json(split.to_json()) == split
        True
        >>> split.check(ids=["one"], masked=["one"])
        Traceback (most recent call last):
        dmtc.core.errors.DataError: split 'mine': 1 ids are not among the training images: two
    """

    name: str
    ratio: str
    labelled: tuple[str, ...]
    unlabelled: tuple[str, ...]
    subsets: Mapping[str, tuple[str, ...]]

    @property
    def sha256(self) -> str:
        """Fingerprint of all lists including their order, but not of name and ratio."""
        lists = {"labelled": self.labelled, "unlabelled": self.unlabelled, "subsets": dict(self.subsets)}
        return hashlib.sha256(json.dumps(lists, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """Convert to JSON text for `from_json`."""
        return json.dumps({**asdict(self), "sha256": self.sha256}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Split":
        """The inverse of `to_json`.

        Raises:
            DataError: The text is not a split, or its lists were changed after it was written.
        """
        try:
            read = json.loads(text)
            split = cls(
                name=read["name"],
                ratio=read["ratio"],
                labelled=tuple(read["labelled"]),
                unlabelled=tuple(read["unlabelled"]),
                subsets={network: tuple(ids) for network, ids in read["subsets"].items()},
            )
            written = read["sha256"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"this is not a split written by dmtc ({type(error).__name__}: {error})") from error
        if split.sha256 != written:
            raise DataError(f"the lists of split {split.name!r} do not match its sha256 {written}; they were changed")
        return split

    def check(self, ids: Collection[str], masked: Collection[str]) -> None:
        """Check that the split fits a data set.

        Args:
            ids: Every training id.
            masked: The training ids that have a mask.

        Raises:
            DataError: Nothing is labelled, a network's subset is empty, or an id is listed twice, is both labelled and
                unlabelled, is not a training id, is labelled but has no mask, or is in a network's subset but not
                labelled.
        """
        if not self.labelled:
            raise DataError(f"split {self.name!r} has no labelled image")
        labelled, unlabelled, known = set(self.labelled), set(self.unlabelled), set(ids)
        self._refuse(_repeated(self.labelled), "listed twice as labelled")
        self._refuse(_repeated(self.unlabelled), "listed twice as unlabelled")
        self._refuse(labelled & unlabelled, "both labelled and unlabelled")
        self._refuse((labelled | unlabelled) - known, "not among the training images")
        self._refuse(labelled - set(masked), "labelled but without a mask")
        for network, subset in self.subsets.items():
            self._refuse(_repeated(subset), f"listed twice for network {network}")
            self._refuse(set(subset) - labelled, f"listed for network {network} but not labelled")
            if not subset:
                raise DataError(f"split {self.name!r} has no labelled image for network {network}")

    def _refuse(self, ids: Iterable[str], fault: str) -> None:
        named = sorted(ids)
        if named:
            shown = ", ".join(named[:3]) + (", ..." if len(named) > 3 else "")
            raise DataError(f"split {self.name!r}: {len(named)} ids are {fault}: {shown}")


def list_sha256(ids: Sequence[str]) -> str:
    """SHA-256 of a list of ids, one per line with a final newline; also the fingerprint of published lists.

    Examples:
        >>> list_sha256(["2007_000032", "2007_000039"])[:12]
        '4fad96115c9f'
    """
    return hashlib.sha256("".join(f"{id}\n" for id in ids).encode()).hexdigest()


def _repeated(ids: Sequence[str]) -> list[str]:
    return [id for id, count in Counter(ids).items() if count > 1]
