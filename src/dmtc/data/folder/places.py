"""Finds the image and mask folders of `dataset=folder`: named by settings, or recognized by name."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmtc.core.errors import DataError
from dmtc.data.folder.guessing import look_like_masks
from dmtc.data.folder.pairing import Pairing
from dmtc.data.listed import IMAGE_SUFFIXES, find_files
from dmtc.data.part_names import Part, part_of

_IMAGES = ("images", "image", "imgs", "img", "jpegimages", "pictures", "photos", "leftimg8bit", "rgb")
_MASKS = (
    "masks",
    "labels",
    "mask",
    "label",
    "segmentationclass",
    "annotations",
    "annotation",
    "gt",
    "gtfine",
    "gtcoarse",
)
"""Usual names of mask folders; like `_IMAGES`, in lower case and in order of preference."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of images.

    Attributes:
        images: The folder.
        masks: Folders that may hold their masks; the same folder, if masks are mixed with images.
        beginning: Prefix of the images' ids.
    """

    images: Path
    masks: tuple[Path, ...]
    beginning: str = ""

    @property
    def is_shared(self) -> bool:
        """Whether masks are in the same folder as the images."""
        return any(os.path.samefile(self.images, masks) for masks in self.masks)


def named_folders(given: str | Sequence[str], key: str, what: str) -> list[Path]:
    """The folders that a setting names.

    Args:
        given: The setting's value.
        key: The setting's name, for messages.
        what: The expected content, for messages.

    Raises:
        DataError: A folder is missing or named twice, or none is named.
    """
    folders = [Path(one).expanduser() for one in ([given] if isinstance(given, str) else given)]
    for place, folder in enumerate(folders):
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}; it should hold the {what} (dataset.{key})")
        if any(os.path.samefile(folder, other) for other in folders[:place]):
            raise DataError(f"dataset.{key} names the folder {folder} twice")
    if not folders:
        raise DataError(f"dataset.{key} names no folder")
    return folders


def places_of(
    root: Path | None, images: str | list[str] | None, masks: str | list[str] | None, pairing: Pairing
) -> list[Place]:
    """Find the folders of images and masks.

    If there are as many mask folders as image folders, they correspond one to one; otherwise any mask may belong to any
    image. If neither is named, the folders are `root/images` and `root/masks`, the folders of parts in `root`
    (`train/images` and `train/masks`, `train_images` and `train_masks`, or `train` with images and masks mixed), or
    `root` itself with images and masks mixed.

    Args:
        root: `dataset.root`.
        images: `dataset.images`.
        masks: `dataset.masks`.
        pairing: The pairing from the settings.

    Raises:
        DataError: A folder is missing, or the layout of `root` is not recognized; the message says what to set.
    """
    if images is None and root is None:
        raise DataError("folder needs dataset.images=DIR, the folder of images, as no dataset.root is given")
    if masks is None and root is None:
        raise DataError("folder needs dataset.masks=DIR, the folder of masks, as no dataset.root is given")
    if images is None and masks is None and root is not None:
        return _recognized(root, pairing)
    usual = _kinds(root) if root is not None else {}
    image_folders = _named_or_usual(images, usual.get("images"), root, "images", ("images",))
    mask_folders = _named_or_usual(masks, usual.get("masks"), root, "masks", ("masks", "labels"))
    beginnings = distinct_beginnings(image_folders)
    if len(image_folders) == len(mask_folders):
        return [
            Place(*one) for one in zip(image_folders, [(masks,) for masks in mask_folders], beginnings, strict=True)
        ]
    return [Place(folder, tuple(mask_folders), start) for folder, start in zip(image_folders, beginnings, strict=True)]


def skipped_folders(root: Path, places: Sequence[Place]) -> list[Path]:
    """Folders with images in a root of parts that are skipped, because their names mean no part."""
    used = {folder for place in places for folder in (place.images, *place.masks)}
    if any(folder in (root, *_kinds(root).values()) for folder in used) or not all(root in one.parents for one in used):
        return []
    parts = {folder.relative_to(root).parts[0] for folder in used}
    return [folder for folder in _folders(root) if folder.name not in parts and find_some_image(folder)]


def inner_place(folder: Path) -> Place | None:
    """The place inside a folder: `images` and `masks`, or the folder itself if it holds pictures; else None."""
    kinds = _kinds(folder)
    if "images" in kinds:
        return Place(kinds["images"], (kinds["masks"],) if "masks" in kinds else ())
    return Place(folder, (folder,)) if find_some_image(folder) else None


def find_some_image(folder: Path) -> bool:
    """Whether there is any image below a folder."""
    return bool(find_files(folder, IMAGE_SUFFIXES, any_name=True))


def distinct_beginnings(folders: Sequence[Path], always: bool = False) -> list[str]:
    """The shortest end of each folder's path that is unique, with a slash; empty for a single folder.

    Args:
        folders: Distinct folders.
        always: Return the name of a single folder, too.
    """
    if len(folders) == 1 and not always:
        return [""]
    parts = [Path(os.path.abspath(folder)).parts for folder in folders]
    length = 1
    while len({own[-length:] for own in parts}) < len(parts) and length < max(map(len, parts)):
        length += 1
    return ["/".join(part for part in own[-length:] if part != os.sep) + "/" for own in parts]


def identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file; None for a broken link, which is reported when it is read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _recognized(root: Path, pairing: Pairing) -> list[Place]:
    if not root.is_dir():
        raise DataError(f"there is no folder {root} (dataset.root)")
    kinds, parts = _kinds(root), list(_places_of_parts(root))
    if "images" in kinds and ("masks" in kinds or not any(place.masks for place in parts)):
        masks = _named_or_usual(None, kinds.get("masks"), root, "masks", ("masks", "labels"))
        return [Place(kinds["images"], tuple(masks)), *parts]
    if any(place.masks for place in parts):
        return [*([Place(kinds["images"], ())] if "images" in kinds else []), *parts]
    direct = [path.stem for path in root.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    if look_like_masks(direct) or any(pairing.is_mask(name) for name in direct):
        return [Place(root, (root,))]
    _named_or_usual(None, kinds.get("images"), root, "images", ("images",))
    raise AssertionError("one of both is missing")


def _places_of_parts(root: Path) -> Iterator[Place]:
    """Places in folders of `root` that are named after parts."""
    masks: dict[Part, list[Path]] = {}
    images: list[tuple[Part, Path]] = []
    for folder in _folders(root):
        part = part_of(folder.name)
        if part is None:
            continue
        words = set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", folder.name).lower()))
        if words & {*_MASKS}:
            masks.setdefault(part, []).append(folder)
        else:
            images.append((part, folder))
    for part, folder in images:
        beginning = f"{folder.name}/"
        kinds = _kinds(folder)
        if "images" in kinds:
            yield Place(kinds["images"], (kinds["masks"],) if "masks" in kinds else (), beginning)
        elif part in masks:
            yield Place(folder, tuple(masks[part]), beginning)
        elif "masks" not in kinds and find_some_image(folder):
            yield Place(folder, (folder,), beginning)


def _named_or_usual(
    given: str | list[str] | None, found: Path | None, root: Path | None, kind: str, usual: Sequence[str]
) -> list[Path]:
    if given is not None:
        return named_folders(given, kind, kind)
    if found is not None:
        return [found]
    assert root is not None
    wanted = " or ".join(str(root / name) for name in usual)
    around = next(
        (folder for folder in _folders(root) if len(_kinds(folder)) == 2 and part_of(folder.name) is None), None
    )
    hint = f"; is it dataset.root={around}?" if around is not None else ""
    raise DataError(
        f"there is no folder {wanted}; it should hold the {kind} (or set dataset.{kind}=DIR){hint or _options(root)}"
    )


def _options(root: Path) -> str:
    return (
        "; other pictures and masks are named by dataset.images=DIR dataset.masks=DIR dataset.val=DIR, and"
        f" {root / 'train'} and {root / 'val'} may each hold images and masks"
    )


def _kinds(folder: Path) -> dict[str, Path]:
    """The image folder and the mask folder inside a folder, if present."""
    by_name: dict[str, Path] = {}
    for inside in reversed(_folders(folder)):
        by_name[inside.name.lower()] = inside
    by_name |= {inside.name: inside for inside in _folders(folder) if inside.name in by_name}
    found = {}
    for kind, names in (("images", _IMAGES), ("masks", _MASKS)):
        name = next((name for name in names if name in by_name), None)
        if name is not None:
            found[kind] = by_name[name]
    return found


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror})") from error
