"""Images of folders that `dataset.unlabelled` names."""

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
    """Images to be trained on without a mask.

    Attributes:
        images: Those that were not known, by id.
        named: Ids of known ones in test parts, which are trained on as one of the folders is that part or in it.
        notes: A line each, for a person.
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
    """The images of folders but for known ones, masks, and those that lie in test and validation parts inside them.

    Args:
        folders: All different.
        images: Known images by id.
        masks: Their masks.
        tested: Which of them lie in test parts.
        pairing: How masks are known beside images.

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
    """A folder, or that of its images where it also holds one of masks."""
    place = inner_place(folder)
    return place.images if place is not None and place.masks and not place.is_shared else folder


def _names_part(folders: Sequence[Path], path: Path) -> bool:
    """Whether one of the folders is the part that a file lies in, or lies inside it: then it names the part."""
    file = path.resolve()
    for folder in (one.resolve() for one in folders):
        if file.is_relative_to(folder) and part_of_id(file.relative_to(folder).as_posix()) not in ("test", "val"):
            return True
    return False
