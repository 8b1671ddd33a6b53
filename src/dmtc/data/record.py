"""Fingerprint of the data that a run depends on, to recognize the same data at another location.

Files of labelled and validation images are hashed. Unlabelled images may be many and are identified by name. Test files
are not opened before they are scored, so only their sizes are recorded.
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
"""Fingerprints of image and mask by id: SHA-256 in hexadecimal, or a size; "unreadable" if the file cannot be read."""

_READERS = 8
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class DataRecord:
    """Fingerprints of the data that a run depends on.

    Attributes:
        classes: Class names in index order.
        labelled: Hashes of the labelled images and masks.
        val: Hashes of the validation images and masks.
        test: File sizes of the test images and masks.
    """

    classes: tuple[str, ...]
    labelled: Contents
    val: Contents
    test: Contents

    @property
    def sha256(self) -> str:
        """Fingerprint of the whole record."""
        return _digest(self.to_json())

    @property
    def scored_sha256(self) -> str:
        """Fingerprint of what networks are scored on: classes and validation images."""
        return _digest({"classes": self.classes, "val": _plain(self.val)})

    @property
    def labelled_sha256(self) -> str:
        """Fingerprint of the labelled images."""
        return _digest(_plain(self.labelled))

    def to_json(self) -> dict[str, Any]:
        """Convert to a JSON-serializable dict."""
        parts = {"labelled": self.labelled, "val": self.val, "test": self.test}
        return {"classes": list(self.classes)} | {name: _plain(part) for name, part in parts.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "DataRecord":
        """The inverse of `to_json`.

        Raises:
            LookupError: A part is missing.
            TypeError: A part has the wrong type.
            ValueError: An entry is not a pair.
        """
        parts = {name: _contents(content[name]) for name in ("labelled", "val", "test")}
        return cls(classes=tuple(content["classes"]), **parts)


def record_data(dataset: Dataset, labelled: Sequence[str]) -> DataRecord:
    """Read the files of the labelled and validation images once, without decoding them.

    An unreadable file is recorded as such; the error is raised later, by the code that needs its pixels.

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
    """List how a data set differs from the one that a run began with; empty if it does not.

    Args:
        recorded: The record made when the run began, possibly on another machine.
        dataset: The data set now.
    """
    differing = []
    if recorded.classes != dataset.classes:
        differing.append(f"the classes are {_few(dataset.classes)} and were {_few(recorded.classes)}")
    labelled = {"labelled": (recorded.labelled, [id for id in recorded.labelled if id in dataset.train])}
    others = {"validation": (recorded.val, dataset.val), "test": (recorded.test, dataset.test)}
    for part, (before, now) in (labelled | others).items():
        for ids, what in ((before.keys() - set(now), "missing"), (set(now) - before.keys(), "new")):
            if ids:
                differing.append(f"{len(ids)} {part} images are {what}: {few(ids)}")
    if differing:
        return differing  # without reading any file
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


def _read(dataset: Dataset, ids: Collection[str], fingerprint: Any) -> Contents:
    files = [(_file(dataset.images, id), _file(dataset.masks, id)) for id in ids]
    with ThreadPoolExecutor(_READERS) as readers:  # hashing releases the GIL
        prints = list(readers.map(lambda pair: (fingerprint(pair[0]), fingerprint(pair[1])), files))
    return dict(zip(ids, prints, strict=True))


def _file(files: Mapping[str, Path], id: str) -> Path | None:
    """The original file, even if the data set reads a cached copy of it."""
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
        raise TypeError("a part is not a mapping from ids to hashes")
    found = {}
    for id, files in part.items():
        image, mask = files
        found[str(id)] = (str(image), str(mask))
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
