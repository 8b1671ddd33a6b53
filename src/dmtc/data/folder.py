"""Any folders of images and masks; an image without a mask is an unlabelled one."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dmtc.data.class_lists import ClassList, find_class_list, read_class_list
from dmtc.data.dataset import DATASETS, Dataset
from dmtc.data.division import DivisionSettings, divide
from dmtc.data.images import ImageReader
from dmtc.data.listed import MASK_SUFFIXES
from dmtc.data.mask_kinds import recognize
from dmtc.data.mask_reading import MaskKind, MaskReading
from dmtc.data.mask_survey import survey_masks
from dmtc.data.masks import ColorMasks, distinct_colors
from dmtc.data.paired import pair_files, require_pairs
from dmtc.data.pairing import given_pairing
from dmtc.data.places import places_of
from dmtc.errors import ConfigError, DataError

log = logging.getLogger(__name__)

_MASK_SUFFIXES = (*MASK_SUFFIXES, ".webp", ".jpg", ".jpeg")
_SURVEYED = 100
"""Masks that are opened to see what they are, where the classes are named. Where they are not, all are."""


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
    ignore_value: int | None,
    ignore_color: list[int] | None,
    bands: list[int] | None,
    value_range: list[float] | None,
    val: str | None,
    test: str | None,
    val_fraction: float,
    val_seed: int,
    open_test: bool = True,
) -> Dataset:
    """Pair `images/<id>.<suffix>` with `masks/<id>.<suffix>`; folders may be nested.

    Parts are known by the names of folders, at any depth, and of lists in `root`, in any case: `train`; `val`, `valid`,
    `validation`, `eval`; `test`, `testing`, `holdout`; `unlabelled`. What `val`, `test` and `unlabelled` name comes
    before lists, and lists before folders. Without any validation part a share of the images with masks is held out.
    Images in no part are training images; where there is a list of these, only images without masks are, besides.
    Images of a test part are never trained on, unless `unlabelled` names them.

    What is recognized (kind of masks, classes) is returned as the arguments that say so, in `Dataset.found`; given
    these, no mask is opened before it is needed.

    Args:
        root: The folder that holds `images` and `masks` (or `labels`), or parts with these, and perhaps `classes.yaml`
            and lists such as `val.txt`.
        images: The folder of images, or several, if it is not `root/images`. JPEG, PNG, WebP, TIFF or BMP.
        masks: The folder of masks, or several, if it is neither `root/masks` nor `root/labels`. The same formats;
            JPEG and lossy WebP for a single class alone.
        unlabelled: A folder of further images without masks, or several.
        image_prefix: What the name of an image begins with and that of its mask does not, such as "img_".
        image_suffix: What it ends with, such as "_sat".
        mask_prefix: What the name of a mask begins with and that of its image does not.
        mask_suffix: What it ends with, such as "_mask".
        pairing: Patterns of the names of an image and of its mask, in place of these: see `Pairing`. None tries equal
            names first and then what makes all masks fit, if that is beyond doubt.
        mask_kind: See `MaskKind`; "auto" looks at the masks.
        classes: Class names in index order, or a file (see `read_class_list`). None looks for `classes.yaml` and
            `classes.txt` in `root`, or without it in the folders of masks and around them; without such a file every
            mask is opened once, and the classes are called after what they are in the masks.
        values: The mask value of each class, where it is not the index.
        colors: The RGB color of each class: in the masks, or only to draw them in.
        ignore_value: A further value, besides 255, that means "ignored"; None if there is none.
        ignore_color: The color that means "ignored" in masks of colors; None if there is none.
        bands: See `ImageReader`, as `value_range`.
        value_range: The values of images that become black and white.
        val: A text file with validation ids (see `read_ids`), or a folder with images and masks.
        test: Likewise, of the images that are scored once at the end.
        val_fraction: Share of the images with masks to validate on, in (0, 1), where nothing else tells them.
        val_seed: Chooses among them. An image keeps its draw when others come or go.
        open_test: Whether masks of the test part may be opened to see what they are.

    Raises:
        ConfigError: An option is out of range or does not fit the others.
        DataError: A folder is missing or empty, no image has a mask, the masks cannot be made out, or a validation id
            is unknown.
    """
    if root is None and images is None:
        raise DataError("folder needs dataset.root=DIR with the folders images and masks, or dataset.images and .masks")
    if not 0 < val_fraction < 1:
        raise ConfigError(f"dataset.val_fraction should lie between 0 and 1, but is {val_fraction}")
    if colors is not None and ignore_value is not None and mask_kind in ("auto", "rgb"):
        raise ConfigError(
            "dataset.ignore_value is a value, but dataset.colors says that the masks hold colors (ignored is then"
            " dataset.ignore_color); if they do not, say dataset.mask_kind=index"
        )
    reader = ImageReader.of(bands, value_range)
    base = Path(root).expanduser() if root is not None else None
    names = given_pairing(pairing, image_prefix, image_suffix, mask_prefix, mask_suffix)
    places = places_of(base, images, masks, names)
    paired = pair_files(places, names, _MASK_SUFFIXES, guessing=pairing is None)
    require_pairs(paired, places, _MASK_SUFFIXES)
    folders = dict.fromkeys(folder for place in places for folder in place.masks)
    around = [base] if base is not None else [one for folder in folders for one in (folder, folder.parent)]
    given = _Given(classes, values, colors, ignore_value, ignore_color).class_list(around)
    parts = divide(
        base,
        paired,
        DivisionSettings(val=val, test=test, unlabelled=unlabelled, fraction=val_fraction, seed=val_seed),
        _MASK_SUFFIXES,
    )

    looked_at = {id: path for id, path in parts.masks.items() if open_test or id not in parts.test}
    reading, note = _reading(looked_at, given, mask_kind)
    classes_found, table = reading.names, reading.classes.colors
    for what, entries in (("colors", table), ("values", reading.classes.values)):
        if entries is not None and len(entries) != len(classes_found):
            raise ConfigError(f"dataset.{what} lists {len(entries)} {what} for {len(classes_found)} classes")
    notes = (*paired.notes, note, _classes_note(classes_found, given), *parts.notes)
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
        notes=notes,
        found=_found(reading)
        | ({} if paired.pairing == names else {"pairing": [paired.pairing.image, paired.pairing.mask]}),
    )


@dataclass(frozen=True, slots=True)
class _Given:
    """The settings that say something about classes."""

    classes: list[str] | str | None
    values: list[int] | None
    colors: list[list[int]] | None
    ignore_value: int | None
    ignore_color: list[int] | None

    def class_list(self, around: list[Path]) -> ClassList:
        """What is known of the classes: settings come before the file, and names in the settings in place of it."""
        if isinstance(self.classes, list):
            if not self.classes or len(set(self.classes)) < len(self.classes):
                raise ConfigError(
                    f"dataset.classes: class names should be one or more, each once, but are {self.classes}"
                )
            listed = ClassList(names=tuple(self.classes), source="dataset.classes")
        else:
            path = find_class_list(around) if self.classes is None else Path(self.classes).expanduser()
            listed = ClassList() if path is None else read_class_list(path)
        settings = {key: value for key, value in asdict(self).items() if key != "classes" and value is not None}
        listed = replace(listed, **settings)
        if listed.colors is not None:
            ColorMasks(listed.colors, listed.ignore_color)  # refuses colors that are malformed or given twice
        return listed


def _reading(masks: Mapping[str, Path], given: ClassList, kind: Literal["auto"] | MaskKind) -> tuple[MaskReading, str]:
    """How masks are read, and a line about it. Masks are opened only where that is not said."""
    named = given.names is not None
    if kind != "auto" and named:
        needed = {"rgb": given.colors, "values": given.values, "binary": given.values, "threshold": given.values}
        if needed.get(kind, True) is not None:
            return MaskReading(kind, given, "as dataset.mask_kind says"), f"masks: {kind}, as dataset.mask_kind says"
    paths = list(masks.values())
    if named:
        paths = paths[:: max(1, -(-len(paths) // _SURVEYED))]
    survey = survey_masks(paths)
    reading = recognize(survey, given, kind)
    of = f"{survey.files} of {len(masks)}" if survey.files < len(masks) else f"all {len(masks)}"
    others = f"; {survey.others} are otherwise or unreadable" if survey.others else ""
    return reading, f"masks: {reading.kind}, as {of} masks show: {reading.why}{others}"


def _found(reading: MaskReading) -> dict[str, Any]:
    classes = reading.classes
    return {
        "mask_kind": reading.kind,
        "classes": list(reading.names),
        "values": classes.values,
        "colors": classes.colors,
        "ignore_value": classes.ignore_value,
        "ignore_color": classes.ignore_color,
    }


def _classes_note(names: tuple[str, ...], given: ClassList) -> str:
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    source = (
        f"from {given.source}" if given.names is not None else "called after the masks; classes.yaml would name them"
    )
    return f"classes: {len(names)} ({shown}), {source}"
