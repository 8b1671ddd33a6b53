"""Miniature VOC and Cityscapes trees, in exactly the layouts of the official archives and with what else lies there."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

VOC_COLORS = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128, *[0] * (249 * 3), 224, 224, 192]
"""The colors of the indices 0 to 5 and 255 in VOC's palette files."""

TRAIN_IDS = {0: 255, 1: 255, 7: 0, 8: 1, 11: 2, 21: 8, 23: 10, 24: 11, 26: 13, 33: 18}
"""The class of every label id in `write_cityscapes`."""


def write_voc(
    root: Path, *, train: int = 4, sbd: int = 4, val: int = 2, others: int = 2, size: tuple[int, int] = (37, 50)
) -> Path:
    """Write the folder VOC2012: images of unequal sizes, palette masks of VOC and index masks of SBD.

    Ids are 2007_* (VOC's training images), 2008_* (SBD's), 2009_* (validation), 2010_* (without masks); each counts
    from 0. SegmentationClassAug holds all masks, the validation images' included, as the usual archive does.

    Args:
        root: Becomes VOC2012.
        train: VOC's training images.
        sbd: Training images whose mask only SBD has.
        val: Validation images.
        others: Images without a mask.
        size: Height and width of every first image; the others are turned or smaller.
    """
    groups = {"2007": train, "2008": sbd, "2009": val, "2010": others}
    ids = {year: [f"{year}_{index:06d}" for index in range(count)] for year, count in groups.items()}
    for index, id in enumerate(id for group in ids.values() for id in group):
        height, width = (size, size[::-1], (size[0] - 4, size[1] - 7))[index % 3]
        rng = np.random.default_rng(index)
        label = _objects(rng, height, width, background=0, classes=range(1, 6), border=255)
        save(root / f"JPEGImages/{id}.jpg", _picture(rng, label))
        (root / "Annotations").mkdir(exist_ok=True)
        (root / f"Annotations/{id}.xml").write_text("<annotation/>")
        if id in ids["2007"] + ids["2009"]:
            for folder in ("SegmentationClass", "SegmentationObject"):
                masks = Image.fromarray(label if folder == "SegmentationClass" else label // 2)
                masks.putpalette(VOC_COLORS)
                save(root / folder / f"{id}.png", masks)
        if id not in ids["2010"]:
            save(root / f"SegmentationClassAug/{id}.png", label)
    write_list(root / "ImageSets/Segmentation/train.txt", ids["2007"])
    write_list(root / "ImageSets/Segmentation/val.txt", ids["2009"])
    write_list(root / "ImageSets/Segmentation/trainval.txt", ids["2007"] + ids["2009"])
    return root


def write_cityscapes(
    root: Path,
    *,
    train: int = 4,
    val: int = 2,
    test: int = 1,
    train_extra: int = 0,
    size: tuple[int, int] = (64, 128),
    train_ids: bool = False,
) -> Path:
    """Write `leftImg8bit` and `gtFine`.

    Args:
        root: The folder that holds both.
        train: Training images, of the cities aachen and bochum in turn.
        val: Validation images, of frankfurt.
        test: Test images, of berlin, with the dummy masks of the official archive.
        train_extra: Images of augsburg without any file in gtFine.
        size: Height and width in pixels.
        train_ids: Write `_gtFine_labelTrainIds.png` too, as Cityscapes' own scripts do.
    """
    cities = {"train": ["aachen", "bochum"], "val": ["frankfurt"], "test": ["berlin"], "train_extra": ["augsburg"]}
    counts = {"train": train, "val": val, "test": test, "train_extra": train_extra}
    for part, count in counts.items():
        for index in range(count):
            city = cities[part][index % len(cities[part])]
            name = f"{city}/{city}_{index // len(cities[part]):06d}_000019"
            rng = np.random.default_rng([list(counts).index(part), index])
            label = _street(rng, *size)
            save(root / f"leftImg8bit/{part}/{name}_leftImg8bit.png", _picture(rng, label))
            if part == "train_extra":
                continue
            mask = root / f"gtFine/{part}/{name}_gtFine"
            truth = np.zeros_like(label) if part == "test" else label
            save(mask.with_name(f"{mask.name}_labelIds.png"), truth)
            save(mask.with_name(f"{mask.name}_instanceIds.png"), truth.astype(np.uint16) * 1000)
            save(mask.with_name(f"{mask.name}_color.png"), np.repeat(truth[..., None], 4, 2))
            mask.with_name(f"{mask.name}_polygons.json").write_text("{}")
            if train_ids and part != "test":
                table = np.full(256, 254, np.uint8)
                table[list(TRAIN_IDS)] = list(TRAIN_IDS.values())
                save(mask.with_name(f"{mask.name}_labelTrainIds.png"), table[label])
    return root


def write_folder(root: Path, *, masked: int = 8, unmasked: int = 2, val: int = 2, size: int = 40) -> Path:
    """Write the layout of `dataset=folder`: pictures p00, p01, ... as PNG, with masks of ground, thing and 255.

    Args:
        root: Holds images, masks, classes.txt and val.txt.
        masked: Training images with a mask.
        unmasked: Training images without one; the next ids.
        val: Validation images; the last ids.
        size: Height and width.
    """
    ids = [f"p{index:02}" for index in range(masked + unmasked + val)]
    for index, id in enumerate(ids):
        rng = np.random.default_rng(index)
        label = _objects(rng, size, size, background=0, classes=(1, 1), border=255)
        save(root / f"images/{id}.png", _picture(rng, label))
        if not masked <= index < masked + unmasked:
            save(root / f"masks/{id}.png", label)
    write_list(root / "classes.txt", ["ground", "thing"])
    write_list(root / "val.txt", ids[-val:])
    return root


OWN = [
    "dataset=folder",
    "model/backbone=tiny",
    "model.backbone.width=8",
    "model.weights.a=null",
    "model.weights.b=null",
    "dataset.augment.crop=[32,32]",
    "schedule=smoke",
    "schedule.limit_steps=2",
    "schedule.rounds.label_ratios=[1.0]",
    "run.progress=off",
    "run.report=false",
    "run.device=cpu",
]
"""Overrides for a run of a few seconds on a folder; `dataset.root=DIR` is still to be given."""


def save(path: Path, picture: np.ndarray | Image.Image) -> None:
    """Write an image file, and its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path)


def write_list(path: Path, ids: Sequence[str]) -> None:
    """Write one id a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{id}\n" for id in ids))


def _objects(
    rng: np.random.Generator, height: int, width: int, background: int, classes: Sequence[int], border: int
) -> np.ndarray:
    """Two rectangles with borders on a background."""
    label = np.full((height, width), background, np.uint8)
    for index in rng.choice(list(classes), 2, replace=False):
        top, left = int(rng.integers(0, height // 2)), int(rng.integers(0, width // 2))
        corner = (left + width // 3, top + height // 3)
        cv2.rectangle(label, (left, top), corner, int(index), cv2.FILLED)
        cv2.rectangle(label, (left, top), corner, border, 1)
    return label


def _street(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Label ids: sky, buildings and road, two objects, and void below."""
    label = _objects(rng, height, width, background=23, classes=(8, 21, 24, 26, 33), border=0)
    label[height // 4 : height // 2, : width // 4] = 11
    label[3 * height // 4 :] = 7
    label[-2:] = 1
    return label


def _picture(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
    """A noisy image in which every value of the mask has a color of its own."""
    colors = np.random.default_rng(0).integers(40, 216, (256, 3))
    noise = rng.integers(-30, 31, (*label.shape, 3))
    return (colors[label] + noise).clip(0, 255).astype(np.uint8)


FOLDER_ARGUMENTS = {
    "name": "folder",
    "root": None,
    "images": None,
    "masks": None,
    "unlabelled": None,
    "image_prefix": "",
    "image_suffix": "",
    "mask_prefix": "",
    "mask_suffix": "",
    "pairing": None,
    "mask_kind": "auto",
    "classes": None,
    "values": None,
    "colors": None,
    "ignore_value": None,
    "ignore_color": None,
    "bands": None,
    "value_range": None,
    "val": None,
    "test": None,
    "val_fraction": 0.2,
    "val_seed": 0,
}
"""Every argument of `dataset=folder`, as in its YAML file."""
