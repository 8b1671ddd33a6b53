"""Data sets in their published layout: finds files and folders, and says how to get missing ones."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from dmtc.core.errors import DataError
from dmtc.core.types import UInt8Array
from dmtc.data.dataset import Dataset, few
from dmtc.data.listed import IMAGE_SUFFIXES, MASK_SUFFIXES, find_files
from dmtc.data.lists import read_ids


def find_piece(name: str, root: Path, piece: str, parents: Sequence[str], remedy: str) -> Path:
    """Find a folder or file of a data set, even inside extra folders added by an archive tool.

    Args:
        name: The data set's name, for messages.
        root: The folder given by the user.
        piece: A path inside the data set.
        parents: Folders inside `root`, as glob patterns, to search if `root` itself does not hold the piece.
        remedy: What to do if the piece is missing, for the message.

    Raises:
        DataError: The piece is in none of these places, or in two of them.
    """
    if (root / piece).exists():
        return root / piece
    found = [path for parent in parents for path in sorted(root.glob(f"{parent}/{piece}"))]
    if not found:
        raise DataError(f"{name}: {root / piece} is missing; {remedy}")
    if len(found) > 1:
        raise DataError(f"{name}: {found[0]} and {found[1]} both exist; set dataset.root to the right folder")
    return found[0]


def require_masks(name: str, val: Collection[str], masks: Mapping[str, Path], folder: Path, remedy: str) -> None:
    """Make sure that every validation image can be scored.

    Raises:
        DataError: There are no validation images, or some have no mask.
    """
    if not val:
        raise DataError(f"{name}: there are no validation images; {remedy}")
    missing = set(val) - masks.keys()
    if missing:
        raise DataError(
            f"{name}: {len(missing)} of {len(val)} validation images have no mask in {folder}: {few(missing)}; {remedy}"
        )


def read_listed(
    root: Path,
    *,
    name: str,
    classes: tuple[str, ...],
    palette: UInt8Array,
    decode_mask: Callable[[Path], UInt8Array],
    remedy: str,
) -> Dataset:
    """Read the layout `images/{train,val}`, `labels/{train,val}`, `train.txt`, `val.txt`, and the same for test.

    A training id without a mask file is an unlabelled image. The test part and its list are optional; test images
    without a mask are not used.

    Args:
        root: The folder that holds all of these.
        name: The data set's name.
        classes: Class names.
        palette: uint8 (C, 3), RGB.
        decode_mask: Reads one mask file.
        remedy: What to do if something is missing, for the message.

    Raises:
        DataError: A folder or list is missing, an id is in two parts, a listed id has no image, or an id of `val.txt`
            has no mask.
    """
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    lists: dict[str, set[str]] = {}
    for part in ("train", "val", "test"):
        pieces = (root / "images" / part, root / "labels" / part, root / f"{part}.txt")
        for piece in pieces if part != "test" else ():
            if not piece.exists():
                raise DataError(f"{name}: {piece} is missing; {remedy}")
        own = find_files(pieces[0], IMAGE_SUFFIXES)
        if twice := own.keys() & images.keys():
            raise DataError(f"{name}: {len(twice)} ids are in {pieces[0]} and in another part: {few(twice)}; keep one")
        images |= own
        masks |= {id: path for id, path in find_files(pieces[1], MASK_SUFFIXES).items() if id in own}
        listed = part != "test" or pieces[2].exists()
        lists[part] = set(read_ids(pieces[2], own, f"image of {pieces[0]}")) if listed else set(own)
    return Dataset(
        name=name,
        classes=classes,
        palette=palette,
        images=images,
        masks=masks,
        train=tuple(sorted(lists["train"])),
        val=tuple(sorted(lists["val"])),
        test=tuple(sorted(lists["test"] & masks.keys())),
        decode_mask=decode_mask,
    )
