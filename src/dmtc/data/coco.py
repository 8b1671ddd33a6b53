"""COCO 2017 for semantic segmentation: 80 kinds of objects and the background."""

from pathlib import Path

from dmtc.core.errors import ConfigError, DataError
from dmtc.data.dataset import DATASETS, Dataset
from dmtc.data.listed import IMAGE_SUFFIXES, MASK_SUFFIXES, find_files
from dmtc.data.masks import IndexMasks
from dmtc.data.official import find_piece, require_masks
from dmtc.data.value_table import TableMasks
from dmtc.data.voc import voc_palette

CLASSES = (
    *("background", "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse"),
    *("sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie"),
    *("suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove"),
    *("skateboard", "surfboard", "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon"),
    *("bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake"),
    *("chair", "couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote"),
    *("keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase"),
    *("scissors", "teddy bear", "hair drier", "toothbrush"),
)
"""The classes in index order: the background, and the objects in the order of their official category ids."""

PIXEL_MAPS = "stuffthingmaps"

_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
_THINGS = [number for number in range(1, 91) if number not in _UNUSED]
# In pixel maps, a value is the category id less one; ids from 92 are stuff, and 255 is what nobody labelled.
_VALUES = {value: 0 for value in (*range(91, 182), 255)} | {id - 1: index for index, id in enumerate(_THINGS, 1)}
_SITE = "http://images.cocodataset.org/zips"
_REMEDY = f"download {_SITE}/train2017.zip and {_SITE}/val2017.zip and unpack both in dataset.root"
_MASKS_REMEDY = (
    "download stuffthingmaps_trainval2017.zip (linked in the README of https://github.com/nightrome/cocostuff) and"
    f" unpack it in dataset.root/{PIXEL_MAPS}, so that it holds train2017 and val2017; or, for masks of class indices"
    " such as those linked in the README of https://github.com/LiheYoung/UniMatch: dataset.masks=masks"
)
_EXTRA = "unlabeled2017"


@DATASETS.register("coco")
def coco(*, root: str | None, masks: str, extra: list[str]) -> Dataset:
    """COCO 2017: 118,287 training and 5,000 validation images of various sizes.

    The 81 classes are those of PseudoSeg and UniMatch: 0 is the background, which is trained and scored like any class,
    and 1 to 80 are the objects. An id is a file name such as `000000000009`. A training image without a mask is
    unlabelled.

    Args:
        root: The folder that holds `train2017` and `val2017`, or `images` with both.
        masks: The folder of masks inside root. `stuffthingmaps` holds the official pixel maps of COCO-Stuff: stuff and
            unlabelled pixels are read as background. Any other folder holds class indices, 255 where ignored. Masks are
            in its folders `train2017` and `val2017`, or directly in it.
        extra: Further folders to use as unlabelled training images: unlabeled2017 (123,403 images).

    Raises:
        ConfigError: `extra` names another folder, or one folder twice.
        DataError: No root is given, or a file or folder is missing; the message says which, where to get it and where
            to put it.

    Source:
        Lin et al., "Microsoft COCO: Common objects in context", 2014; Caesar et al., "COCO-Stuff: Thing and stuff
        classes in context", 2018. Deviation: how the masks that UniMatch distributes were made is not published, so
        pixel maps may differ from them at some pixels; with `masks=masks` they are read as they are.
    """
    if root is None:
        raise DataError(f"coco needs dataset.root=DIR; {_REMEDY}")
    if any(folder != _EXTRA for folder in extra) or len(extra) > 1:
        raise ConfigError(f"dataset.extra takes {_EXTRA}, once, but is {extra}")
    base = Path(root).expanduser()
    parts = {}
    for part in ("train2017", "val2017", *extra):
        remedy = _REMEDY if part != _EXTRA else f"download {_SITE}/{_EXTRA}.zip, or take it out of dataset.extra"
        folder = find_piece("coco", base, part, ("images",), remedy)
        parts[part] = find_files(folder, IMAGE_SUFFIXES)
        if not parts[part]:
            raise DataError(f"coco: {folder} holds no image; {remedy}")
    images = {id: path for part in parts.values() for id, path in part.items()}
    if twice := sum(map(len, parts.values())) - len(images):
        raise DataError(f"coco: {twice} ids are in two of the folders {', '.join(parts)}")
    mask_folder = find_piece("coco", base, masks, (), _MASKS_REMEDY)
    files = {}
    for part in ("train2017", "val2017"):
        inner = mask_folder / part
        found = find_files(inner if inner.exists() else mask_folder, MASK_SUFFIXES)
        files |= {id: path for id, path in found.items() if id in parts[part]}
    require_masks("coco", parts["val2017"], files, mask_folder, _MASKS_REMEDY)
    return Dataset(
        name="coco",
        classes=CLASSES,
        palette=voc_palette(len(CLASSES)),
        images=images,
        masks=files,
        train=tuple(sorted(images.keys() - parts["val2017"].keys())),
        val=tuple(sorted(parts["val2017"])),
        decode_mask=_decoder(masks),
    )


def _decoder(masks: str) -> TableMasks | IndexMasks:
    if Path(masks).name != PIXEL_MAPS:
        return IndexMasks()
    return TableMasks(
        table=_VALUES,
        remedy="pixel maps hold ids of COCO-Stuff less one; masks of class indices need a folder of another name",
    )
