"""Reads a folder of images to score, named by `dataset.val` or `dataset.test`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dmtc.core.errors import DataError
from dmtc.data.dataset import few
from dmtc.data.folder.guessing import look_like_masks
from dmtc.data.folder.paired import further_images, pair_files
from dmtc.data.folder.pairing import Pairing
from dmtc.data.folder.places import identity, inner_place
from dmtc.data.part_names import Part


@dataclass(frozen=True, slots=True)
class ScoredFolder:
    """Content of a folder of images to score.

    Attributes:
        folder: The folder of the images.
        ids: Ids of the images.
        images: Image files that were not known before, by id.
        masks: Their masks, by id.
        withdrawn: For each id, other ids of the same file, which are then not used.
    """

    folder: Path
    ids: set[str]
    images: dict[str, Path] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    withdrawn: dict[str, set[str]] = field(default_factory=dict)


def folder_to_score(
    folder: Path,
    part: Part,
    called: str,
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    pairing: Pairing,
    mask_suffixes: Sequence[str],
) -> ScoredFolder:
    """Find known images inside a folder, or the images of a folder with its own masks, in `masks` or mixed with them.

    Args:
        folder: The folder named by the setting.
        part: The part to use it as; each validation image needs a mask.
        called: Name of the part, for messages.
        images: Known images by id.
        masks: Known masks by id.
        pairing: How names of images and masks correspond.
        mask_suffixes: File suffixes of masks.

    Raises:
        DataError: There are no images or masks, a validation image has no mask, or another image has the same id.
    """
    place = inner_place(folder)
    known: dict[tuple[int, int], set[str]] = {}
    for id, path in images.items():
        if (one := identity(path)) is not None:
            known.setdefault(one, set()).add(id)
    if place is not None and place.images == folder:
        below = {one for path in further_images([(folder, "")], {}).values() if (one := identity(path)) is not None}
        inside = {id for one in below & known.keys() for id in known[one]}
        if inside and len(inside) < len(images) and inside & masks.keys():
            _require_masks(part, folder, inside - masks.keys(), len(inside))
            return ScoredFolder(folder, inside)
        names = [path.stem for path in folder.rglob("*")]
        if not any(map(pairing.is_mask, names)) and not (pairing == Pairing() and look_like_masks(names)):
            place = None
    if place is None:
        raise DataError(
            f"there is no folder {folder / 'images'}; it should hold the {called} images, and {folder / 'masks'}"
            f" their masks (or set dataset.{part}=DIR)"
        )
    if not place.masks:
        raise DataError(
            f"there is no folder {folder / 'masks'} or {folder / 'labels'}; it should hold the {called} masks"
        )
    own = pair_files([place], pairing, mask_suffixes, guessing=pairing == Pairing())
    if not own.masks:
        raise DataError(f"{place.images}: no image there has a mask in {place.masks[0]}")
    _require_masks(part, place.images, own.images.keys() - own.masks.keys(), len(own.images))
    found = ScoredFolder(place.images, set())
    beginning = f"{folder.resolve().name}/"
    for name, path in own.images.items():
        id, there = beginning + name, identity(path)
        earlier = known.get(there, set()) if there is not None else set()
        if id in images and id not in earlier:
            raise DataError(f"images in {place.images} have ids that others have: {id}; rename the folder {folder}")
        found.withdrawn[id] = earlier - {id}
        found.ids.add(id)
        found.images[id] = path
        if name in own.masks:
            found.masks[id] = own.masks[name]
    return found


def _require_masks(part: Part, folder: Path, without: Collection[str], count: int) -> None:
    if without and part == "val":
        raise DataError(f"{len(without)} of {count} images in {folder} have no mask: {few(list(without))}")
