"""Which images of `dataset=folder` are held out to score on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmtc.data.dataset import few
from dmtc.data.listed import IMAGE_SUFFIXES, read_lines
from dmtc.data.places import Paired, existing_folders, identity, pair_files
from dmtc.errors import DataError
from dmtc.randomness import seed_of


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The validation images.

    Attributes:
        ids: Their names.
        note: How they were chosen, for a person.
        images: Their files, where they lie in a folder of their own.
        masks: Likewise.
        withdrawn: Ids under which the same files lie among the other images; these are not used.
    """

    ids: frozenset[str]
    note: str
    images: Mapping[str, Path]
    masks: Mapping[str, Path]
    withdrawn: frozenset[str] = frozenset()


def held_out(
    val: str | None,
    base: Path | None,
    image_folders: Sequence[Path],
    paired: Paired,
    fraction: float,
    seed: int,
    mask_suffix: str,
    mask_suffixes: Sequence[str],
) -> HeldOut:
    """Choose the validation images; see `dmtc.data.folder.folder` for the arguments and the order of preference.

    Raises:
        DataError: A list is empty, a folder without masks, or there are too few masks to hold one out.
    """
    given = Path(val).expanduser() if val is not None else None
    if given is not None and given.is_dir():
        return _of_folder(given, paired, mask_suffix, mask_suffixes)
    if given is None and len(image_folders) == 1:
        inside = image_folders[0]
        if (inside / "train").is_dir() and (inside / "val").is_dir():
            ids = frozenset(id for id in paired.images if id.startswith("val/"))
            return HeldOut(ids, f"validation: the {len(ids)} images of {inside / 'val'}", {}, {})
    if given is None and base is not None and (base / "val.txt").exists():
        given = base / "val.txt"
    if given is not None:
        ids = frozenset(_id(line, paired.images) for line in read_lines(given))
        if not ids:
            raise DataError(f"{given}: no validation ids in it")
        return HeldOut(ids, f"validation: the {len(ids)} images that {given} lists", {}, {})
    masks = paired.masks
    if len(masks) < 2:
        raise DataError("validation and training need one image with a mask each, but only one image has a mask")
    # Each id draws for itself, so that a new image does not reshuffle the rest.
    ranked = sorted(masks, key=lambda id: seed_of("folder-val", seed, id))
    count = min(max(1, round(fraction * len(masks))), len(masks) - 1)
    note = (
        f"validation: {count} of the {len(masks)} images with masks, held out at random"
        f" (dataset.val_fraction={fraction}, dataset.val_seed={seed}) and never trained on"
    )
    return HeldOut(frozenset(ranked[:count]), note, {}, {})


def _id(line: str, images: Mapping[str, Path]) -> str:
    """The id that a line means, which may be a file name."""
    is_file = line not in images and Path(line).suffix.lower() in IMAGE_SUFFIXES
    return line[: -len(Path(line).suffix)] if is_file else line


def _of_folder(folder: Path, paired: Paired, mask_suffix: str, mask_suffixes: Sequence[str]) -> HeldOut:
    images = existing_folders(None, folder, ("images",), "val", "validation images")
    masks = existing_folders(None, folder, ("masks", "labels"), "val", "validation masks")
    own = pair_files(images, masks, mask_suffix, mask_suffixes)
    if not own.masks:
        raise DataError(f"{images[0]}: no image there has a mask in {masks[0]}")
    without = own.images.keys() - own.masks.keys()
    if without:
        raise DataError(f"{len(without)} of {len(own.images)} images in {images[0]} have no mask: {few(without)}")
    files = {identity(path) for path in own.images.values()} - {None}
    withdrawn = frozenset(id for id, path in paired.images.items() if identity(path) in files)
    beginning = f"{folder.resolve().name}/"
    twice = [beginning + id for id in own.images if beginning + id in paired.images]
    if twice:
        raise DataError(f"images in {images[0]} have ids that others have: {few(twice)}; rename the folder {folder}")
    note = f"validation: the {len(own.images)} images of {images[0]}"
    if withdrawn:
        note += f"; {len(withdrawn)} of them lie among the training images too and are not trained on"
    own_images = {beginning + id: path for id, path in own.images.items()}
    own_masks = {beginning + id: path for id, path in own.masks.items()}
    return HeldOut(frozenset(own_images), note, own_images, own_masks, withdrawn)
