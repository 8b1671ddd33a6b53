"""Published splits, recognized by their labelled images. Only counts and fingerprints are stored, no image lists.

The fingerprint of a set of images does not depend on their order: it is the SHA-256 of the sorted ids, one per line
with a final newline, as printed by `LC_ALL=C sort LIST | sha256sum` for a list of ids. `docs/splits.md` lists them all.
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
        name: Name of its method.
        paper: Authors, title and venue.
        repository: Owner and name on GitHub.
        commit: The commit whose lists were read.
        license: The repository's license.
        layout: The content of a line of its lists.
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
        name: The repository's name for the pair.
        file: Path of the labelled list; the unlabelled list is in the same folder.
    """

    source: str
    name: str
    file: str


@dataclass(frozen=True, kw_only=True)
class PublishedSplit:
    """One split of a data set, with every pair of lists that gives it.

    Attributes:
        dataset: The data set, as in `dataset=...`.
        labelled: The number of labelled images.
        unlabelled: The number of unlabelled images.
        on_both: Number of images that are on both lists by mistake.
        labelled_sha256: Fingerprint of the labelled images.
        unlabelled_sha256: Fingerprint of the unlabelled images; None if their list was not read, as for COCO, where it
            should hold all other training images.
        lists: The lists, at least one pair.
    """

    dataset: str
    labelled: int
    unlabelled: int
    on_both: int
    labelled_sha256: str
    unlabelled_sha256: str | None
    lists: tuple[PublishedList, ...]

    def __str__(self) -> str:
        return ", ".join(f"{shipped.source} {shipped.name}" for shipped in self.lists) + f" ({self.dataset})"


@cache
def published_sources() -> tuple[Source, ...]:
    """Repositories whose lists are known.

    Examples:
        >>> [source.name for source in published_sources()][:2]
        ['DMT', 'DMTC']
    """
    return tuple(Source(**source) for source in _read()["sources"])


@cache
def published_splits() -> tuple[PublishedSplit, ...]:
    """Known splits: VOC, Cityscapes, ADE20K, COCO; then by number of labelled images.

    Examples:
        >>> print(published_splits()[0])
        CPS pseudoseg 1-16 (voc)
    """
    return tuple(
        PublishedSplit(**{**split, "lists": tuple(PublishedList(**shipped) for shipped in split["lists"])})
        for split in _read()["splits"]
    )


def set_sha256(ids: Iterable[str]) -> str:
    """Fingerprint of a set of images, independent of their order.

    Examples:
        >>> set_sha256(["b", "a"]) == set_sha256(["a", "b"])
        True
    """
    return list_sha256(sorted(ids))


def describe_published(split: Split) -> list[str]:
    """List the papers that used a split, one sentence each; empty if no known list has the same labelled images.

    Examples:
        >>> ids = ("2007_000032", "2007_000039")
        >>> describe_published(Split(name="mine", ratio="2", labelled=ids, unlabelled=(), subsets={}))
        []
    """
    labelled, unlabelled = set_sha256(split.labelled), set_sha256(split.unlabelled)
    known = [published for published in published_splits() if published.labelled_sha256 == labelled]
    # Exact matches come first.
    known.sort(key=lambda published: published.unlabelled_sha256 != unlabelled)
    return [_described(published, len(split.unlabelled), unlabelled) for published in known]


def _described(published: PublishedSplit, count: int, unlabelled: str) -> str:
    if published.unlabelled_sha256 == unlabelled:
        return f"published as {published}"
    if published.unlabelled_sha256 is None and published.unlabelled == count:
        return f"published as {published}; of the unlabelled images only the number was compared"
    return f"the same labelled images, but other unlabelled ones ({published.unlabelled}): {published}"


def _read() -> dict[str, list[dict]]:
    return json.loads(Path(__file__).with_name("published.json").read_text("utf-8"))
