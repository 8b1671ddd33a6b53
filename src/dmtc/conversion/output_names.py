"""Names of converted images: those in the export, without folders that only say "images", by parts."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from dmtc.core.errors import DataError
from dmtc.data.dataset import few
from dmtc.data.ids import id_fault
from dmtc.data.part_names import Part, part_of

_PLAIN = {"images", "image", "imgs", "img", "jpegimages", "pictures", "photos", "data"}
"""Folders, in lower case, that are no part of a name."""


def output_names(paths: Mapping[Path, Path], parts: Mapping[Path, Part | None]) -> dict[Path, str]:
    """The id of each image: `PART/folders/name`, unique, without a suffix.

    Args:
        paths: Each image with its path inside the export.
        parts: The part of each image.

    Raises:
        DataError: A name is not allowed, or two images would get the same.
    """
    folders = {
        path: [name for name in inside.parts[:-1] if name.lower() not in _PLAIN and _is_kept(name, parts[path])]
        for path, inside in paths.items()
    }
    shared = 0
    while (heads := {tuple(names[: shared + 1]) for names in folders.values()}) and len(heads) == 1:
        (head,) = heads
        if len(head) <= shared or part_of(head[-1]) is not None:
            break
        shared += 1
    names = {path: _joined(parts[path], folders[path][shared:], inside.stem) for path, inside in paths.items()}
    counts = Counter(name.lower() for name in names.values())
    for path, inside in paths.items():
        if counts[names[path].lower()] > 1:
            names[path] += f"_{inside.suffix.lstrip('.').lower()}"
    twice = [name for name, count in Counter(name.lower() for name in names.values()).items() if count > 1]
    if twice:
        raise DataError(f"several images would be called {few(twice)}; rename all but one of each")
    for name in names.values():
        if fault := id_fault(name):
            raise DataError(f"the image {name!a} cannot keep its name: {fault}")
    return names


def _is_kept(name: str, part: Part | None) -> bool:
    return part is None or part_of(name) != part


def _joined(part: Part | None, folders: list[str], stem: str) -> str:
    return "/".join([*([part] if part else []), *folders, stem])
