"""Where the images and masks of `dataset=folder` lie: one folder of each, or several, and how they are paired."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmtc.data.dataset import few
from dmtc.data.listed import IMAGE_SUFFIXES, find_files
from dmtc.errors import DataError


@dataclass(frozen=True, slots=True)
class Paired:
    """Files by id.

    Attributes:
        images: Every image.
        masks: The masks of some of them.
        orphans: Masks that no image has the name of.
    """

    images: Mapping[str, Path]
    masks: Mapping[str, Path]
    orphans: Sequence[Path]


def existing_folders(
    given: str | list[str] | None, base: Path | None, usual: Sequence[str], key: str, what: str
) -> list[Path]:
    """The folders that were named, or the first of the usual ones that exists.

    Args:
        given: What the setting says.
        base: The folder that the usual ones lie in, if there is one.
        usual: Names of folders.
        key: The setting, for messages.
        what: What should lie there, for messages.

    Raises:
        DataError: There is none, or one of several is missing or named twice.
    """
    if given is None and base is None:
        raise DataError(f"folder needs dataset.{key}=DIR, the folder of {what}, as no dataset.root is given")
    if given is None:
        candidates = [base / name for name in usual if base]
        found = next((folder for folder in candidates if folder.is_dir()), None)
        if found is not None:
            return [found]
        wanted = " or ".join(map(str, candidates))
        raise DataError(f"there is no folder {wanted}; it should hold the {what} (or set dataset.{key}=DIR)")
    folders = [Path(one).expanduser() for one in ([given] if isinstance(given, str) else given)]
    for place, folder in enumerate(folders):
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}; it should hold the {what} (dataset.{key})")
        if any(os.path.samefile(folder, other) for other in folders[:place]):
            raise DataError(f"dataset.{key} names the folder {folder} twice")
    if not folders:
        raise DataError(f"dataset.{key} names no folder")
    return folders


def pair_files(images: Sequence[Path], masks: Sequence[Path], suffix: str, mask_suffixes: Sequence[str]) -> Paired:
    """Pair images and masks by their path inside their folders.

    The id of an image is its path inside its folder, without its suffix. Where there are several folders of images, the
    part of the folder's path that tells it from the others comes before. As many folders of masks as of images belong
    to these one by one; otherwise any mask may belong to any image.

    Args:
        images: Folders of images.
        masks: Folders of masks.
        suffix: What the name of a mask has at its end more than that of its image, such as "_mask".
        mask_suffixes: File suffixes of masks.

    Raises:
        DataError: A folder holds two images of one name, or two masks or two images fit each other.
    """
    beginnings = distinct_beginnings(images)
    one_by_one = len(images) == len(masks)
    ids: list[dict[str, str]] = []  # of each folder: id by path inside it
    files: dict[str, Path] = {}
    for folder, beginning in zip(images, beginnings, strict=True):
        found = find_files(folder, IMAGE_SUFFIXES)
        # Masks may lie beside their images, and are no images then.
        inside = {id: path for id, path in found.items() if not (suffix and id.endswith(suffix))}
        ids.append({id: beginning + id for id in inside})
        files |= {beginning + id: path for id, path in inside.items()}
    paired: dict[str, Path] = {}
    orphans: list[Path] = []
    for place, folder in enumerate(masks):
        targets = ids[place : place + 1] if one_by_one else ids
        for name, path in find_files(folder, mask_suffixes, ending=suffix).items():
            fitting = [of[name] for of in targets if name in of]
            if len(fitting) > 1:
                raise DataError(
                    f"{path} fits {few(fitting)}; name as many folders in dataset.masks as in dataset.images, in the"
                    " same order"
                )
            if fitting and fitting[0] in paired:
                raise DataError(f"{paired[fitting[0]]} and {path} are masks of one image, {fitting[0]}; keep one")
            if fitting:
                paired[fitting[0]] = path
            else:
                orphans.append(path)
    return Paired(dict(sorted(files.items())), dict(sorted(paired.items())), orphans)


def further_images(folders: Sequence[Path], known: Mapping[str, Path]) -> dict[str, Path]:
    """Images of further folders by id, but for those that are known already under another id.

    Raises:
        DataError: Another image has the same id.
    """
    if not folders:
        return {}
    there = {identity(path) for path in known.values()} - {None}
    more: dict[str, Path] = {}
    for folder, beginning in zip(folders, distinct_beginnings(folders, always=True), strict=True):
        for id, path in find_files(folder, IMAGE_SUFFIXES).items():
            if identity(path) in there:
                continue
            if beginning + id in known:
                raise DataError(
                    f"{known[beginning + id]} and {path} have the same id {beginning + id!r}; rename the folder"
                    f" {folder}"
                )
            more[beginning + id] = path
    return more


def distinct_beginnings(folders: Sequence[Path], always: bool = False) -> list[str]:
    """The end of each folder's path that tells it from the others, with a slash; empty for a single folder.

    Args:
        folders: All different.
        always: A single folder has its name, too.
    """
    if len(folders) == 1 and not always:
        return [""]
    parts = [Path(os.path.abspath(folder)).parts for folder in folders]
    length = 1
    while len({own[-length:] for own in parts}) < len(parts) and length < max(map(len, parts)):
        length += 1
    return ["/".join(part for part in own[-length:] if part != os.sep) + "/" for own in parts]


def identity(path: Path) -> tuple[int, int] | None:
    """What two paths of one file have in common; None for a dangling link, which is told when it is read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
