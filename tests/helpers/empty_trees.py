"""Data sets of empty files: where names alone matter, nothing is opened."""

from collections.abc import Iterable
from pathlib import Path

from dmtc.data import DATASETS, Dataset
from trees import FOLDER_ARGUMENTS


def touch(root: Path, names: Iterable[str]) -> Path:
    """Make empty files, and their folders."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def build(root: Path | None = None, **changes) -> Dataset:
    """`dataset=folder` with named classes and a given kind of masks, so that no mask is opened."""
    given = {"root": root, "classes": ["a", "b"], "mask_kind": "index", **changes}
    texts = {key: str(value) if isinstance(value, Path) else value for key, value in given.items()}
    return DATASETS.build({**FOLDER_ARGUMENTS, **texts})


def roles(dataset: Dataset) -> dict[str, set[str]]:
    """Ids by what they are used for; none is used for two things."""
    found = {
        "labelled": set(dataset.masked),
        "unlabelled": set(dataset.unmasked),
        "val": set(dataset.val),
        "test": set(dataset.test),
    }
    assert sum(map(len, found.values())) == len(set().union(*found.values()))
    return found
