"""Arbitrary folders of images and masks; an image without a mask is unlabelled."""

import logging
from pathlib import Path
from typing import Literal

import numpy as np

from dmtc.core.errors import ConfigError, DataError
from dmtc.data.dataset import DATASETS, Dataset, few
from dmtc.data.folder.division import DivisionSettings, divide
from dmtc.data.folder.mask_reading import MaskKind
from dmtc.data.folder.mask_settings import MaskSettings, classes_note, found_settings
from dmtc.data.folder.paired import pair_files, require_pairs
from dmtc.data.folder.pairing import given_pairing
from dmtc.data.folder.places import places_of, skipped_folders
from dmtc.data.folder.unread import reporting_unread
from dmtc.data.images import ImageReader
from dmtc.data.listed import ANY_MASK_SUFFIXES
from dmtc.data.masks import distinct_colors

log = logging.getLogger(__name__)


@DATASETS.register("folder")
def folder(
    *,
    root: str | None,
    images: str | list[str] | None,
    masks: str | list[str] | None,
    unlabelled: str | list[str] | None,
    image_prefix: str,
    image_suffix: str,
    mask_prefix: str,
    mask_suffix: str,
    pairing: list[str] | None,
    mask_kind: Literal["auto"] | MaskKind,
    classes: list[str] | str | None,
    values: list[int] | None,
    colors: list[list[int]] | None,
    ignore_value: float | list[float] | None,
    ignore_color: list[int] | list[list[int]] | None,
    bands: list[int] | None,
    value_range: list[float] | None,
    val: str | None,
    test: str | None,
    val_fraction: float,
    val_seed: int,
    open_test: bool = True,
) -> Dataset:
    """Pair `images/<id>.<suffix>` with `masks/<id>.<suffix>`; folders may be nested.

    Parts are recognized by names of folders, at any depth, and of lists in `root`, in any case: `train`; `val`,
    `valid`, `validation`, `eval`; `test`, `testing`, `holdout`; `unlabelled`. The settings `val`, `test` and
    `unlabelled` take precedence over lists, and lists over folders. Without a validation part, a share of the images
    with masks is held out. Images in no part are training images; if there is a training list, only those without masks
    are added to it. Images of a test part are never trained on, unless `unlabelled` names them.

    What is inferred (kind of masks, classes) is returned as equivalent arguments in `Dataset.found`; given these, no
    mask is opened before it is needed.

    Args:
        root: The folder that holds `images` and `masks` (or `labels`), or parts with these, and optionally
            `classes.yaml` and lists such as `val.txt`.
        images: One or more image folders, if not `root/images`. JPEG, PNG, WebP, TIFF, BMP, GIF, PPM or PGM.
        masks: One or more mask folders, if neither `root/masks` nor `root/labels`. The same formats, but JPEG and lossy
            WebP only for a single class; also NumPy arrays (.npy).
        unlabelled: One or more folders of additional images without masks.
        image_prefix: Beginning of image names that is absent from mask names, such as "img_".
        image_suffix: End of image names that is absent from mask names, such as "_sat".
        mask_prefix: Beginning of mask names that is absent from image names.
        mask_suffix: End of mask names that is absent from image names, such as "_mask".
        pairing: Name patterns of an image and its mask, instead of prefixes and suffixes; see `Pairing`. None tries
            equal names first, then a pattern that fits all masks, if exactly one exists.
        mask_kind: See `MaskKind`; "auto" infers it from the masks.
        classes: Class names in index order, or a file (see `read_class_list` and `read_class_table`). None looks for
            `classes.yaml` and `classes.txt` in `root`, or without `root`, in the mask folders and their parents, then
            for Roboflow's `_classes.csv`, CVAT's `labelmap.txt` or a `class_dict.csv` there and beside the masks;
            without such a file, every mask is opened once, and classes are named after their values or colors.
        values: The mask value of each class, if it is not the index.
        colors: The RGB color of each class, in the masks or only for drawing.
        ignore_value: One or more values that mean "ignored", besides 255; None if there are none. NaN and the nodata
            value of a TIFF are ignored, unless `values` contains the latter.
        ignore_color: One or more colors that mean "ignored" in color masks; None if there are none.
        bands: See `ImageReader`.
        value_range: Image values that become black and white; see `ImageReader`.
        val: A text file with validation ids (see `read_ids`), or a folder with images and masks.
        test: The same for the images that are scored once at the end.
        val_fraction: Share of the images with masks to validate on, in (0, 1), if nothing else determines them.
        val_seed: Seed of that random choice. An image keeps its draw when other images are added or removed.
        open_test: Whether masks of the test part may be opened to infer their kind and classes.

    Raises:
        ConfigError: An option is out of range or conflicts with others.
        DataError: A folder is missing or empty, no image has a mask, the masks cannot be interpreted, or a validation
            id is unknown.
    """
    if root is None and images is None:
        raise DataError("folder needs dataset.root=DIR with the folders images and masks, or dataset.images and .masks")
    if not 0 < val_fraction < 1:
        raise ConfigError(f"dataset.val_fraction should lie between 0 and 1, but is {val_fraction}")
    settings = MaskSettings(mask_kind, classes, values, colors, ignore_value, ignore_color)
    reader = ImageReader.of(bands, value_range)
    base = Path(root).expanduser() if root is not None else None
    names = given_pairing(pairing, image_prefix, image_suffix, mask_prefix, mask_suffix)
    with reporting_unread(base, images, masks, unlabelled, val, test) as unread:
        unread.places = places = places_of(base, images, masks, names)
        paired = pair_files(places, names, ANY_MASK_SUFFIXES, guessing=pairing is None)
        require_pairs(paired, places, ANY_MASK_SUFFIXES)
    folders = dict.fromkeys(folder for place in places for folder in place.masks)
    around = [base] if base is not None else [one for folder in folders for one in (folder, folder.parent)]
    given = settings.class_list(around, list(dict.fromkeys([*around, *folders])))
    parts = divide(
        base,
        paired,
        DivisionSettings(val=val, test=test, unlabelled=unlabelled, fraction=val_fraction, seed=val_seed),
        ANY_MASK_SUFFIXES,
    )

    looked_at = {id: path for id, path in parts.masks.items() if open_test or id not in parts.test}
    reading, note = settings.reading(looked_at, given)
    classes_found, table = reading.names, reading.classes.colors
    for what, entries in (("colors", table), ("values", reading.classes.values)):
        if entries is not None and len(entries) != len(classes_found):
            raise ConfigError(f"dataset.{what} lists {len(entries)} {what} for {len(classes_found)} classes")
    notes = [*paired.notes, note, classes_note(classes_found, given), *parts.notes]
    if base is not None and (others := skipped_folders(base, places)):
        of = few([str(folder) for folder in others])
        notes.append(f"kept out: {of}, not named after a part; dataset.unlabelled=DIR would train on one")
    if not open_test:
        notes = [one.replace(", scored once at the end", ", not opened: run.test=false") for one in notes]
    for one in notes:
        log.info("%s", one)
    return Dataset(
        name="folder",
        classes=classes_found,
        palette=distinct_colors(len(classes_found)) if table is None else np.array(table, np.uint8),
        images=parts.images,
        masks=parts.masks,
        train=tuple(sorted(parts.train)),
        val=tuple(sorted(parts.val)),
        test=tuple(sorted(parts.test)),
        decode_mask=reading.decoder(),
        reader=reader,
        notes=tuple(notes),
        found=found_settings(reading)
        | ({} if paired.pairing == names else {"pairing": [paired.pairing.image, paired.pairing.mask]}),
    )
