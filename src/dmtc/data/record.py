"""What the files of a data set hold, as far as a run depends on it: so that the same data are known at another place.

Of labelled and validation images the files are hashed. Unlabelled images may be many and are told by their names; the
test part is not opened before it is scored, so of its files the sizes are kept.
"""

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmtc.core.errors import DataError
from dmtc.core.files import read_regular
from dmtc.data.dataset import Dataset, few

Contents = Mapping[str, tuple[str, str]]
"""By id, what tells its image and its mask: SHA-256 in hexadecimal, or a size; "unreadable" if the file is."""

_READERS = 8
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class DataRecord:
    """What a run depends on.

    Attributes:
        classes: Class names in the order of their indices.
        labelled: The labelled images.
        val: The validation images.
        test: The test images, by the sizes of their files.
    """

    classes: tuple[str, ...]
    labelled: Contents
    val: Contents
    test: Contents

    @property
    def sha256(self) -> str:
        """One fingerprint of all."""
        return _digest(self.to_json())

    @property
    def scored_sha256(self) -> str:
        """One fingerprint of what networks are scored on: classes and validation images."""
        return _digest({"classes": self.classes, "val": _plain(self.val)})

    @property
    def labelled_sha256(self) -> str:
        """One fingerprint of the labelled images."""
        return _digest(_plain(self.labelled))

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        parts = {"labelled": self.labelled, "val": self.val, "test": self.test}
        return {"classes": list(self.classes)} | {name: _plain(part) for name, part in parts.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "DataRecord":
        """The inverse of `to_json`.

        Raises:
            LookupError: A part is missing.
            TypeError: A part is something else.
            ValueError: Likewise.
        """
        parts = {name: _contents(content[name]) for name in ("labelled", "val", "test")}
        return cls(classes=tuple(content["classes"]), **parts)


def record_data(dataset: Dataset, labelled: Sequence[str]) -> DataRecord:
    """Read the files of the labelled and the validation images once, without decoding them.

    A file that cannot be read is recorded as such; whoever needs its pixels tells what is wrong with it.

    Args:
        dataset: The data set.
        labelled: Ids whose masks are trained on.

    Examples:
        >>> import dmtc
        >>> from dmtc.data import DATASETS
        >>> spec = {"name": "synthetic", "root": "data", "seed": 0, "train_images": 2, "val_images": 1, "size": 32}
        >>> record = record_data(DATASETS.build(spec, "dataset"), ["train_00001"])
        >>> list(record.labelled), list(record.val)
        (['train_00001'], ['val_00000'])
    """
    return DataRecord(
        classes=dataset.classes,
        labelled=_read(dataset, labelled, _sha256),
        val=_read(dataset, dataset.val, _sha256),
        test=_read(dataset, dataset.test, _size),
    )


def data_differences(recorded: DataRecord, dataset: Dataset) -> list[str]:
    """In what a data set differs from what a run began with; one remark each, empty if in nothing.

    Args:
        recorded: By `record_data`, earlier or elsewhere.
        dataset: As it is now.
    """
    differing = []
    if recorded.classes != dataset.classes:
        differing.append(f"the classes are {_few(dataset.classes)} and were {_few(recorded.classes)}")
    labelled = {"labelled": (recorded.labelled, [id for id in recorded.labelled if id in dataset.train])}
    others = {"validation": (recorded.val, dataset.val), "test": (recorded.test, dataset.test)}
    for part, (before, now) in (labelled | others).items():
        for ids, what in ((before.keys() - set(now), "not there"), (set(now) - before.keys(), "new")):
            if ids:
                differing.append(f"{len(ids)} {part} images are {what}: {few(ids)}")
    if differing:
        return differing  # no file needs to be read
    now = record_data(dataset, list(recorded.labelled))
    for part, before, after, kind in (
        ("labelled", recorded.labelled, now.labelled, "holds something else"),
        ("validation", recorded.val, now.val, "holds something else"),
        ("test", recorded.test, now.test, "has another size"),
    ):
        for place, files in enumerate((dataset.images, dataset.masks)):
            changed = [id for id in before if before[id][place] != after[id][place]]
            if changed:
                more = f", and so do {len(changed) - 1} more" if len(changed) > 1 else ""
                what = ("image", "mask")[place]
                differing.append(
                    f"the {what} of the {part} image {changed[0]} {kind} ({_file(files, changed[0])}){more}"
                )
    return differing


def _read(dataset: Dataset, ids: Collection[str], telling: Any) -> Contents:
    files = [(_file(dataset.images, id), _file(dataset.masks, id)) for id in ids]
    with ThreadPoolExecutor(_READERS) as readers:  # hashing lets other threads go on
        told = list(readers.map(lambda pair: (telling(pair[0]), telling(pair[1])), files))
    return dict(zip(ids, told, strict=True))


def _file(files: Mapping[str, Path], id: str) -> Path | None:
    """The file as it was given, where one made from it takes its place."""
    source = getattr(files, "source", files.get)
    return source(id)


def _sha256(path: Path | None) -> str:
    try:
        return hashlib.sha256(read_regular(path or "")).hexdigest()
    except (OSError, ValueError, DataError):
        return "unreadable"


def _size(path: Path | None) -> str:
    try:
        return f"{os.stat(path or '').st_size} bytes"
    except (OSError, ValueError):
        return "unreadable"


def _plain(part: Contents) -> dict[str, list[str]]:
    return {id: list(files) for id, files in sorted(part.items())}


def _contents(part: Mapping[str, Sequence[str]]) -> Contents:
    if not isinstance(part, Mapping):
        raise TypeError("a part is no mapping from ids to hashes")
    found = {}
    for id, files in part.items():
        image, mask = files
        found[str(id)] = (str(image), str(mask))
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
