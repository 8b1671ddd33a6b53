"""The splits that papers published, recognized by the images they label: counts and fingerprints, no lists of images.

A set of images has one fingerprint whatever its order: the SHA-256 of its ids, sorted and one a line with a final
newline, which is what `LC_ALL=C sort LIST | sha256sum` prints for a list of ids. `docs/splits.md` shows all of it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dmtc.splits.split import Split, list_sha256


@dataclass(frozen=True, kw_only=True)
class Source:
    """A repository that ships lists.

    Attributes:
        name: What its method is called.
        paper: Authors, title and where it appeared.
        repository: Owner and name on GitHub.
        commit: The commit whose lists were read.
        license: The repository's license.
        layout: What a line of its lists holds.
    """

    name: str
    paper: str
    repository: str
    commit: str
    license: str
    layout: str


@dataclass(frozen=True, kw_only=True)
class PublishedList:
    """One pair of lists that a repository ships.

    Attributes:
        source: The name of the `Source`.
        name: What the pair is called there.
        file: The path of the labelled list; the unlabelled one lies beside it.
    """

    source: str
    name: str
    file: str


@dataclass(frozen=True, kw_only=True)
class PublishedSplit:
    """One division of a data set, with every pair of lists that makes it.

    Attributes:
        dataset: The data set, as in `dataset=...`.
        labelled: The number of labelled images.
        unlabelled: The number of unlabelled images.
        on_both: How many images are on both lists, by mistake.
        labelled_sha256: Fingerprint of the labelled images.
        unlabelled_sha256: Fingerprint of the unlabelled images.
        lists: The lists, at least one pair.
    """

    dataset: str
    labelled: int
    unlabelled: int
    on_both: int
    labelled_sha256: str
    unlabelled_sha256: str
    lists: tuple[PublishedList, ...]

    def __str__(self) -> str:
        return ", ".join(f"{shipped.source} {shipped.name}" for shipped in self.lists) + f" ({self.dataset})"


@cache
def published_sources() -> tuple[Source, ...]:
    """The repositories whose lists are known.

    Examples:
        >>> [source.name for source in published_sources()][:2]
        ['DMT', 'DMTC']
    """
    return tuple(Source(**source) for source in _read()["sources"])


@cache
def published_splits() -> tuple[PublishedSplit, ...]:
    """The known splits: VOC before Cityscapes, then by the number of labelled images.

    Examples:
        >>> print(published_splits()[0])
        CPS pseudoseg 1-16 (voc)
    """
    return tuple(
        PublishedSplit(**{**split, "lists": tuple(PublishedList(**shipped) for shipped in split["lists"])})
        for split in _read()["splits"]
    )


def set_sha256(ids: Iterable[str]) -> str:
    """The fingerprint of a set of images; their order does not count.

    Examples:
        >>> set_sha256(["b", "a"]) == set_sha256(["a", "b"])
        True
    """
    return list_sha256(sorted(ids))


def describe_published(split: Split) -> list[str]:
    """Say which papers used a split, one sentence a line; none if no known list has the same labelled images.

    Examples:
        >>> ids = ("2007_000032", "2007_000039")
        >>> describe_published(Split(name="mine", ratio="2", labelled=ids, unlabelled=(), subsets={}))
        []
    """
    labelled, unlabelled = set_sha256(split.labelled), set_sha256(split.unlabelled)
    known = [published for published in published_splits() if published.labelled_sha256 == labelled]
    # The exact match first.
    known.sort(key=lambda published: published.unlabelled_sha256 != unlabelled)
    return [
        f"published as {published}"
        if published.unlabelled_sha256 == unlabelled
        else f"the same labelled images, but other unlabelled ones ({published.unlabelled}): {published}"
        for published in known
    ]


def _read() -> dict[str, list[dict]]:
    return json.loads(Path(__file__).with_name("published.json").read_text("utf-8"))
