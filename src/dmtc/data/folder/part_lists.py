"""Finding the lists of parts that lie in the root of a data set: train.txt, val.txt, test.txt and their like."""

from pathlib import Path

from dmtc.data.part_names import Part, part_of

_FOLDERS = (".", "splits", "split", "lists", "list", "ImageSets/Segmentation", "ImageSets")
_SUFFIXES = (".txt", ".lst", ".list")


def lists_in(root: Path) -> dict[Part, list[Path]]:
    """The lists of parts in a root: those of the first folder that has any; of the test part, all."""
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
    """Whether a list is of training and validation together, as VOC's trainval.txt: the two tell more."""
    letters = "".join(letter for letter in stem.lower() if letter.isalpha())
    return "trainval" in letters or "valtrain" in letters
