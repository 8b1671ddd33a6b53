"""Cityscapes: street scenes from fifty cities, 19 classes."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmtc.core.errors import ConfigError, DataError
from dmtc.core.types import IGNORE_INDEX, UInt8Array
from dmtc.data.dataset import DATASETS, Dataset
from dmtc.data.halved import HalvedImages
from dmtc.data.masks import IndexMasks
from dmtc.data.official import find_piece, require_masks

log = logging.getLogger(__name__)

CLASSES = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
"""The classes in index order (their "train ids"), with the official colors."""

LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The official label id of each class; all other ids, up to 33, are not scored and are read as ignored."""

_EXTRA = ("train_extra", "test")
_IMAGE, _LABEL_IDS, _TRAIN_IDS = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"
_SITE = "from https://www.cityscapes-dataset.com/downloads/ (free after registration) and unpack it"
_REMEDY = (
    f"download leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip {_SITE}; dataset.root is the folder that then"
    " holds leftImg8bit and gtFine"
)
_EXTRA_REMEDY = f"download leftImg8bit_trainextra.zip {_SITE} beside leftImg8bit/train, or take it out of dataset.extra"


@DATASETS.register("cityscapes")
def cityscapes(*, root: str | None, half: bool, cache: str, extra: list[str]) -> Dataset:
    """Cityscapes with fine masks: 2,975 training and 500 validation images of 1024x2048 pixels.

    An id is city and name, such as `aachen/aachen_000000_000019`. A training image without a mask is unlabelled. The
    masks of the test images are dummies and are never read.

    Args:
        root: The folder that holds `leftImg8bit` and `gtFine`, or its parent (or the parent of each of the two).
        half: Read images and masks at half size. Images are halved once and cached. Masks, which take milliseconds to
            read, are subsampled by two on every read, so no mask is opened before it is needed.
        cache: Folder for the half-size images, 2 to 3 GB.
        extra: Further folders of `leftImg8bit` to use as unlabelled training images: train_extra (19,998 images), test
            (1,525 images).

    Raises:
        ConfigError: `extra` names another folder, or one folder twice.
        DataError: No root is given, or a file or folder is missing; the message says which, where to get it and where
            to put it.

    Source:
        Cordts et al., "The Cityscapes dataset for semantic urban scene understanding", 2016. DMT and DMTC halve on
        every read, by bilinear and nearest interpolation without antialiasing; at a factor of one half, these equal the
        mean of 2x2 pixels and every second pixel. Deviation: the mean is rounded to 8 bits.
    """
    if root is None:
        raise DataError(f"cityscapes needs dataset.root=DIR; {_REMEDY}")
    unknown = [part for part in extra if part not in _EXTRA]
    if unknown or len(set(extra)) < len(extra):
        raise ConfigError(f"dataset.extra takes {' and '.join(_EXTRA)}, each once, but is {extra}")
    base = Path(root).expanduser()
    parts = {part: _images(base, part) for part in ("train", "val", *extra)}
    images: Mapping[str, Path] = {id: path for part in parts.values() for id, path in part.items()}
    twice = sum(map(len, parts.values())) - len(images)
    if twice:
        raise DataError(f"cityscapes: {twice} ids are in two of the folders {', '.join(parts)} of leftImg8bit")
    folders = {part: find_piece("cityscapes", base, f"gtFine/{part}", ("*",), _REMEDY) for part in ("train", "val")}
    masks = {id: path for part, folder in folders.items() for id, path in _masks(folder).items() if id in parts[part]}
    require_masks("cityscapes", parts["val"], masks, folders["val"], _REMEDY)
    if half:
        images = HalvedImages(images, Path(cache).expanduser(), base)
        log.info("half-size images are cached in %s; each is created on first read", images.folder)
    return Dataset(
        name="cityscapes",
        classes=tuple(CLASSES),
        palette=np.array(list(CLASSES.values()), np.uint8),
        images=images,
        masks=masks,
        train=tuple(sorted(images.keys() - parts["val"].keys())),
        val=tuple(sorted(parts["val"])),
        decode_mask=CityscapesMasks(half=half),
        reduction=2 if half else 1,
    )


@dataclass(frozen=True, kw_only=True)
class CityscapesMasks:
    """Reads masks of label ids or train ids, depending on the file name.

    Attributes:
        half: Take every second row and column.
    """

    half: bool

    def __call__(self, path: Path) -> UInt8Array:
        """Read one file into uint8 (H, W).

        Raises:
            DataError: The file is missing, unreadable, or has several channels.
        """
        mask = IndexMasks()(path)
        if self.half:
            height, width = mask.shape[0] // 2, mask.shape[1] // 2
            mask = np.ascontiguousarray(mask[: 2 * height : 2, : 2 * width : 2])
        return mask if path.name.endswith(_TRAIN_IDS) else _CLASS_OF_LABEL_ID[mask]


_CLASS_OF_LABEL_ID = np.full(256, IGNORE_INDEX, np.uint8)
_CLASS_OF_LABEL_ID[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))


def _images(base: Path, part: str) -> dict[str, Path]:
    remedy = _EXTRA_REMEDY if part == "train_extra" else _REMEDY
    folder = find_piece("cityscapes", base, f"leftImg8bit/{part}", ("*",), remedy)
    images = _by_id(folder, _IMAGE)
    if not images:
        raise DataError(f"cityscapes: {folder} has no image <city>/*{_IMAGE}; {remedy}")
    return images


def _masks(folder: Path) -> dict[str, Path]:
    """Mask file by id; a file of train ids takes precedence over one of label ids."""
    return _by_id(folder, _LABEL_IDS) | _by_id(folder, _TRAIN_IDS)


def _by_id(folder: Path, tail: str) -> dict[str, Path]:
    return {
        f"{path.parent.name}/{path.name.removesuffix(tail)}": path
        for path in folder.glob(f"*/*{tail}")
        if not path.name.startswith(".")
    }
