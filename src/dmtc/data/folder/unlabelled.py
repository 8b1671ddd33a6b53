"""Reads the folders named by `dataset.unlabelled`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmtc.data.dataset import few
from dmtc.data.folder.paired import further_images
from dmtc.data.folder.pairing import Pairing
from dmtc.data.folder.places import distinct_beginnings, identity, inner_place
from dmtc.data.part_names import part_of_id


@dataclass(frozen=True, slots=True)
class Further:
    """Images to train on without a mask.

    Attributes:
        images: Images that were not known before, by id.
        named: Ids of known images in test parts, to be trained on because one of the folders is that part or inside it.
        notes: Findings for the user, one line each.
    """

    images: Mapping[str, Path]
    named: set[str]
    notes: Sequence[str]


def further_unlabelled(
    folders: Sequence[Path],
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    tested: Collection[str],
    pairing: Pairing,
) -> Further:
    """Find the images of folders, except known ones, masks, and images in test and validation parts inside them.

    Args:
        folders: Distinct folders.
        images: Known images by id.
        masks: Known masks by id.
        tested: Ids of known images in test parts.
        pairing: Distinguishes masks from images in the same folder.

    Raises:
        DataError: Another image has the same id.
    """
    beginnings = distinct_beginnings(folders, always=True)
    inner = [_images_in(folder) for folder in folders]
    of_masks = {one for path in masks.values() if (one := identity(path)) is not None}
    found = {
        id: path
        for id, path in further_images(list(zip(inner, beginnings, strict=True)), images).items()
        if identity(path) not in of_masks and (pairing == Pairing() or not pairing.is_mask(id))
    }
    inside = {id: id.removeprefix(start) for id in found for start in beginnings if id.startswith(start)}
    closed = {id for id in found if part_of_id(inside[id]) in ("test", "val")}
    more = {id: path for id, path in found.items() if id not in closed}
    named = {id for id in tested if _names_part(inner, images[id])}
    where = few([str(folder) for folder in folders])
    notes = [f"unlabelled: {len(more) + len(named)} further images from {where}"]
    if named:
        notes[0] += f", {len(named)} of which lie in a folder called test: trained on, as dataset.unlabelled says"
    if closed:
        notes.append(f"kept out: {len(closed)} images of {where} in folders called test or validation")
    return Further(more, named, notes)


def _images_in(folder: Path) -> Path:
    """The folder itself, or its image folder if it also has a mask folder."""
    place = inner_place(folder)
    return place.images if place is not None and place.masks and not place.is_shared else folder


def _names_part(folders: Sequence[Path], path: Path) -> bool:
    """Whether one of the folders names a file's part, by being that part or by lying inside it."""
    file = path.resolve()
    for folder in (one.resolve() for one in folders):
        if file.is_relative_to(folder) and part_of_id(file.relative_to(folder).as_posix()) not in ("test", "val"):
            return True
    return False
