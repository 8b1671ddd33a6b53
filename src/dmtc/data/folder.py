"""Any two folders of images and masks; an image without a mask is an unlabelled one."""

import logging
from pathlib import Path

import numpy as np

from dmtc.data.dataset import DATASETS, Dataset, few
from dmtc.data.listed import IMAGE_SUFFIXES, MASK_SUFFIXES, find_files, read_lines
from dmtc.data.masks import ColorMasks, IndexMasks, distinct_colors
from dmtc.errors import ConfigError, DataError
from dmtc.randomness import seed_of
from dmtc.types import IGNORE_INDEX

log = logging.getLogger(__name__)


@DATASETS.register("folder")
def folder(
    *,
    root: str | None,
    images: str | None,
    masks: str | None,
    classes: list[str] | None,
    colors: list[list[int]] | None,
    ignore_value: int | None,
    val: str | None,
    val_fraction: float,
    val_seed: int,
) -> Dataset:
    """Pair `images/<id>.<suffix>` with `masks/<id>.<suffix>`; folders may be nested.

    The validation images are, in this order of preference: those listed in `val`; those in `images/val` if there are
    both `images/train` and `images/val`; those listed in `root/val.txt`; else a share of the images with masks. All
    other images are training images.

    Args:
        root: The folder that holds `images` and `masks` (or `labels`), and perhaps `classes.txt` and `val.txt`.
        images: The folder of images, if it is not `root/images`. JPEG, PNG, WebP, TIFF or BMP.
        masks: The folder of masks, if it is neither `root/masks` nor `root/labels`. PNG, TIFF or BMP.
        classes: Class names in index order. None reads `root/classes.txt` (one name a line); without that file every
            mask is opened once, and the classes are called "class 0" up to the largest index found.
        colors: The RGB color of each class, for masks that hold colors; None for masks that hold class indices.
        ignore_value: A further index, besides 255, that means "ignored"; None if there is none.
        val: A text file with validation ids, one a line.
        val_fraction: Share of the images with masks to validate on, in (0, 1), where nothing else tells them.
        val_seed: Chooses among them. An image keeps its draw when others come or go.

    Raises:
        ConfigError: An option is out of range or does not fit the others.
        DataError: A folder is missing or empty, no image has a mask, or a validation id is unknown.
    """
    if root is None and images is None:
        raise DataError("folder needs dataset.root=DIR with the folders images and masks, or dataset.images and .masks")
    if not 0 < val_fraction < 1:
        raise ConfigError(f"dataset.val_fraction should lie between 0 and 1, but is {val_fraction}")
    if colors is not None and ignore_value is not None:
        raise ConfigError("dataset.ignore_value is an index, but dataset.colors says that the masks hold colors")
    base = Path(root).expanduser() if root is not None else None
    image_folder = _existing(images, base, ("images",), "images")
    mask_folder = _existing(masks, base, ("masks", "labels"), "masks")
    image_files = find_files(image_folder, IMAGE_SUFFIXES)
    mask_files = find_files(mask_folder, MASK_SUFFIXES)
    if not image_files:
        raise DataError(f"{image_folder}: no images there (looked for {', '.join(IMAGE_SUFFIXES)})")
    orphans = mask_files.keys() - image_files.keys()
    if len(orphans) == len(mask_files):
        raise DataError(
            f"no image has a mask: an image and its mask have the same name, but {image_folder} holds"
            f" {few(list(image_files))} and {mask_folder} holds {few(list(mask_files)) or 'nothing'}"
        )
    if orphans:
        log.warning("%d masks in %s have no image and are not used: %s", len(orphans), mask_folder, few(orphans))
    mask_files = {id: path for id, path in mask_files.items() if id in image_files}

    decode = IndexMasks(ignore_value) if colors is None else ColorMasks(colors)
    names = _class_names(classes, base, colors, mask_files, decode)
    if colors is not None and len(colors) != len(names):
        raise ConfigError(f"dataset.colors lists {len(colors)} colors for {len(names)} classes")
    chosen = _validation_ids(val, base, image_folder, image_files, mask_files, val_fraction, val_seed)
    return Dataset(
        name="folder",
        classes=names,
        palette=distinct_colors(len(names)) if colors is None else np.array(colors, np.uint8),
        images=image_files,
        masks=mask_files,
        train=tuple(sorted(image_files.keys() - chosen)),
        val=tuple(sorted(chosen)),
        decode_mask=decode,
    )


def _existing(given: str | None, base: Path | None, usual: tuple[str, ...], kind: str) -> Path:
    """The folder that was named, or the first of the usual ones that exists."""
    if given is None and base is None:
        raise DataError(f"folder needs dataset.{kind}=DIR, the folder of {kind}, as no dataset.root is given")
    candidates = [Path(given).expanduser()] if given is not None else [base / name for name in usual if base]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    wanted = " or ".join(map(str, candidates))
    raise DataError(f"there is no folder {wanted}; it should hold the {kind} (or set dataset.{kind}=DIR)")


def _class_names(
    classes: list[str] | None,
    base: Path | None,
    colors: list[list[int]] | None,
    masks: dict[str, Path],
    decode: IndexMasks | ColorMasks,
) -> tuple[str, ...]:
    listed = base / "classes.txt" if base is not None else None
    if classes is None and listed is not None and listed.exists():
        classes = read_lines(listed)
    if classes is None and colors is not None:
        classes = [f"class {index}" for index in range(len(colors))]
    if classes is None:
        classes = [f"class {index}" for index in range(_largest_index(masks, decode) + 1)]
        log.info("found %d classes in %d masks; classes.txt would name them", len(classes), len(masks))
    if not classes or len(set(classes)) < len(classes):
        raise DataError(f"class names should be one or more, each once, but are {classes}")
    return tuple(classes)


def _largest_index(masks: dict[str, Path], decode: IndexMasks | ColorMasks) -> int:
    largest = -1
    for path in masks.values():
        try:
            mask = decode(path)
        except DataError:
            continue  # told when the mask is needed, which it never is if its image serves as an unlabelled one
        largest = max(largest, int(mask[mask != IGNORE_INDEX].max(initial=0)))
    if largest < 1:
        raise DataError(
            "the masks name fewer than two classes (255 means ignored);"
            " list the names in classes.txt or dataset.classes"
        )
    return largest


def _validation_ids(
    val: str | None,
    base: Path | None,
    image_folder: Path,
    images: dict[str, Path],
    masks: dict[str, Path],
    fraction: float,
    seed: int,
) -> set[str]:
    listed = Path(val).expanduser() if val is not None else None
    if listed is None and (image_folder / "train").is_dir() and (image_folder / "val").is_dir():
        return {id for id in images if id.startswith("val/")}
    if listed is None and base is not None and (base / "val.txt").exists():
        listed = base / "val.txt"
    if listed is not None:
        chosen = set(read_lines(listed))
        if not chosen:
            raise DataError(f"{listed}: no validation ids in it")
        return chosen
    if len(masks) < 2:
        raise DataError("validation and training need one image with a mask each, but only one image has a mask")
    # Each id draws for itself, so that a new image does not reshuffle the rest.
    ranked = sorted(masks, key=lambda id: seed_of("folder-val", seed, id))
    count = min(max(1, round(fraction * len(masks))), len(masks) - 1)
    return set(ranked[:count])
