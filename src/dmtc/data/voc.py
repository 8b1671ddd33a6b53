"""PASCAL VOC 2012 with SBD masks or only its own, 21 classes."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from dmtc.core.errors import DataError
from dmtc.core.types import UInt8Array
from dmtc.data.dataset import DATASETS, Dataset, few
from dmtc.data.listed import IMAGE_SUFFIXES, MASK_SUFFIXES, find_files
from dmtc.data.lists import read_ids
from dmtc.data.masks import IndexMasks
from dmtc.data.official import find_piece, require_masks

log = logging.getLogger(__name__)

CLASSES = (
    "background",
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""The classes in index order."""

OWN_MASKS, SBD_MASKS = "SegmentationClass", "SegmentationClassAug"

_TRAINING_LISTS = {OWN_MASKS: ("train.txt",), SBD_MASKS: ("trainaug.txt", "train_aug.txt")}
_PARENTS = ("VOC2012", "VOCdevkit/VOC2012", "*/VOCdevkit/VOC2012")
_REMEDY = (
    "download VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ and unpack it;"
    " dataset.root is its folder VOCdevkit/VOC2012, which holds JPEGImages, ImageSets/Segmentation and"
    " SegmentationClass, or the folder around VOCdevkit"
)
_SBD_REMEDY = (
    "download SegmentationClassAug.zip (linked in the README of https://github.com/DrSleep/tensorflow-deeplab-resnet)"
    " and unpack it in VOC2012, beside JPEGImages, so that its masks are VOC2012/SegmentationClassAug/<id>.png; or do"
    " without the masks of SBD: dataset.masks=SegmentationClass"
)


@DATASETS.register("voc")
def voc(*, root: str | None, masks: str, unlabelled: Literal["all"] | None) -> Dataset:
    """VOC 2012: 1,464 training images, or 10,582 with SBD, and 1,449 validation images of various sizes.

    Validation images are listed in `ImageSets/Segmentation/val.txt`. Training images depend on `masks`:
    SegmentationClassAug uses `trainaug.txt` or `train_aug.txt` in the same folder if present, else all images with a
    mask; SegmentationClass uses `train.txt`; any other folder uses all images with a mask in it. Images with a mask
    that are validation images, for which SBD has masks too, are left out. A listed training image without a mask is
    unlabelled. Images in `test.txt` are never trained on; those with masks form the test part.

    SegmentationClassAug may hold only SBD's masks: VOC's own masks fill the gaps and always score the validation
    images.

    Args:
        root: The folder VOC2012, or one that holds VOC2012, VOCdevkit or VOCtrainval_11-May-2012.
        masks: The mask folder inside VOC2012: palette or index PNG files with 255 on object borders.
        unlabelled: "all" adds every other image of JPEGImages as unlabelled, except those in `test.txt`; None leaves
            them out.

    Raises:
        DataError: No root is given, or a file or folder is missing; the message says which, where to get it and where
            to put it.

    Source:
        Everingham et al., "The PASCAL visual object classes challenge", 2015; Hariharan et al., "Semantic contours from
        inverse detectors", 2011 (SBD). The 10,582 images are the published training list. Deviation: none if
        SegmentationClassAug is complete, as published.
    """
    if root is None:
        raise DataError(f"voc needs dataset.root=DIR; {_REMEDY}")
    images_folder = find_piece("voc", Path(root).expanduser(), "JPEGImages", _PARENTS, _REMEDY)
    base = images_folder.parent
    val_list = find_piece("voc", base, "ImageSets/Segmentation/val.txt", (), _REMEDY)
    mask_folder = find_piece("voc", base, masks, (), _SBD_REMEDY if masks == SBD_MASKS else _REMEDY)
    images = find_files(images_folder, IMAGE_SUFFIXES)
    val = set(read_ids(val_list, images))
    files = find_files(mask_folder, MASK_SUFFIXES)
    if not files.keys() & images.keys():
        raise DataError(
            f"voc: no image has a mask: {mask_folder} holds {few(list(files)) or 'nothing'}, {images_folder} holds"
            f" {few(list(images)) or 'nothing'}; {_SBD_REMEDY if masks == SBD_MASKS else _REMEDY}"
        )
    if masks == SBD_MASKS:
        own = find_files(base / OWN_MASKS, MASK_SUFFIXES)
        # SBD has no object borders, so scores on its masks would not be comparable.
        files = own | files | {id: own[id] for id in val if id in own}
    require_masks("voc", val, files, mask_folder, _REMEDY)
    tested = _test_ids(base, images)
    train = _training_ids(base, masks, images, files, val | tested)
    if wrong := (tested & (train | val)) | (train & val):
        raise DataError(f"voc: {len(wrong)} images are in two of the lists in ImageSets/Segmentation: {few(wrong)}")
    others = images.keys() - val - train - tested if unlabelled == "all" else set()
    test = tested & files.keys()
    return Dataset(
        name="voc",
        classes=CLASSES,
        palette=voc_palette(len(CLASSES)),
        images=images,
        masks={id: path for id, path in files.items() if id in train or id in val or id in test},
        train=tuple(sorted(train | others)),
        val=tuple(sorted(val)),
        test=tuple(sorted(test)),
        decode_mask=IndexMasks(),
    )


def voc_palette(count: int) -> UInt8Array:
    """The colors of the first indices in VOC's palette.

    Each group of three bits of an index, from the lowest, gives one bit each to red, green and blue; a channel collects
    its bits from the highest to the lowest.

    Returns:
        uint8 (count, 3), RGB; count is at most 256.
    """
    index = np.arange(count)[:, None]
    channel = np.arange(3)
    colors = sum((index >> 3 * place + channel & 1) << 7 - place for place in range(3))
    return np.asarray(colors, np.uint8)


def _training_ids(
    base: Path, masks: str, images: Mapping[str, Path], files: Mapping[str, Path], scored: set[str]
) -> set[str]:
    lists = base / "ImageSets" / "Segmentation"
    for name in _TRAINING_LISTS.get(masks, ()):
        if (lists / name).exists():
            return set(read_ids(lists / name, images))
    if masks == OWN_MASKS:
        raise DataError(f"voc: {lists / 'train.txt'} is missing; {_REMEDY}")
    orphans = files.keys() - images.keys()
    if orphans:
        log.warning("%d masks in %s have no image and are not used: %s", len(orphans), base / masks, few(orphans))
    return (files.keys() & images.keys()) - scored


def _test_ids(base: Path, images: Mapping[str, Path]) -> set[str]:
    """The ids in `test.txt` whose images are present; VOC distributes these images separately."""
    path = base / "ImageSets" / "Segmentation" / "test.txt"
    return set(read_ids(path, images, partial=True)) if path.exists() else set()
