"""Finds the lists of parts in the root of a data set: train.txt, val.txt, test.txt and similar."""

from pathlib import Path

from dmtc.data.part_names import Part, part_of

_FOLDERS = (".", "splits", "split", "lists", "list", "ImageSets/Segmentation", "ImageSets")
_SUFFIXES = (".txt", ".lst", ".list")


def lists_in(root: Path) -> dict[Part, list[Path]]:
    """Lists by part: those of the first folder that has any; for the test part, those of all folders."""
    found: dict[Part, list[Path]] = {}
    for name in _FOLDERS:
        folder = root / name
        if not folder.is_dir():
            continue
        here: dict[Part, list[Path]] = {}
        for path in sorted(folder.iterdir()):
            part = part_of(path.stem) if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") else None
            if part in ("train", "val", "test") and not _is_joint(path.stem):
                here.setdefault(part, []).append(path)
        for part, paths in here.items():
            if part == "test":
                found.setdefault(part, []).extend(paths)
            else:
                found.setdefault(part, paths)
    return found


def _is_joint(stem: str) -> bool:
    """Whether a list joins training and validation, like VOC's trainval.txt; the separate lists are used instead."""
    letters = "".join(letter for letter in stem.lower() if letter.isalpha())
    return "trainval" in letters or "valtrain" in letters
