"""ADE20K: scenes of every kind, 150 classes."""

from pathlib import Path

from dmtc.core.errors import DataError
from dmtc.core.types import IGNORE_INDEX
from dmtc.data.dataset import DATASETS, Dataset
from dmtc.data.listed import IMAGE_SUFFIXES, MASK_SUFFIXES, find_files
from dmtc.data.masks import IndexMasks, distinct_colors
from dmtc.data.official import find_piece, require_masks
from dmtc.data.value_table import TableMasks

CLASSES = (
    *("wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet"),
    *("sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water"),
    *("painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk"),
    *("rock", "wardrobe", "lamp", "bathtub", "railing", "cushion", "base", "box", "column", "signboard"),
    *("chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand"),
    *("path", "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway", "river", "bridge"),
    *("bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill", "bench", "countertop", "stove"),
    *("palm", "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine", "hovel", "bus"),
    *("towel", "light", "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television receiver"),
    *("airplane", "dirt track", "apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle"),
    *("buffet", "poster", "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything"),
    *("swimming pool", "stool", "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven"),
    *("ball", "food", "step", "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake"),
    *("dishwasher", "screen", "blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray"),
    *("ashcan", "fan", "pier", "crt screen", "plate", "monitor", "bulletin board", "shower", "radiator", "glass"),
    *("clock", "flag"),
)
"""The classes in index order, by the first of their official names."""

_REMEDY = (
    "download ADEChallengeData2016.zip from http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip and"
    " unpack it; dataset.root is its folder ADEChallengeData2016, which holds images and annotations"
)
_VALUES = {0: IGNORE_INDEX} | {index + 1: index for index in range(150)}
_PREPARED = (
    "official masks hold 0..150; if 0 means wall and 255 ignored in yours, as in those of UniMatch V2:"
    " dataset.official=false"
)


@DATASETS.register("ade20k")
def ade20k(*, root: str | None, official: bool) -> Dataset:
    """ADE20K, the scene parsing benchmark: 20,210 training and 2,000 validation images of various sizes.

    An id is a file name such as `ADE_train_00000001`. A training image without a mask is unlabelled.

    Args:
        root: The folder that holds `images/{training,validation}` and `annotations/{training,validation}`, or its
            parent.
        official: Whether masks hold the official values: 1..150 for classes, and 0 for everything else, which is read
            as ignored. False for masks whose values are class indices, 255 where ignored, as UniMatch V2 distributes.

    Raises:
        DataError: No root is given, or a file or folder is missing; the message says which, where to get it and where
            to put it.

    Source:
        Zhou et al., "Scene parsing through ADE20K dataset", 2017. Deviation: none; 0 is never trained on or scored.
    """
    if root is None:
        raise DataError(f"ade20k needs dataset.root=DIR; {_REMEDY}")
    base = Path(root).expanduser()
    images, masks = {}, {}
    parts: dict[str, set[str]] = {}
    for part in ("training", "validation"):
        pieces = [find_piece("ade20k", base, f"{kind}/{part}", ("*",), _REMEDY) for kind in ("images", "annotations")]
        own = find_files(pieces[0], IMAGE_SUFFIXES)
        if not own:
            raise DataError(f"ade20k: {pieces[0]} holds no image; {_REMEDY}")
        images |= own
        masks |= {id: path for id, path in find_files(pieces[1], MASK_SUFFIXES).items() if id in own}
        parts[part] = set(own)
    require_masks("ade20k", parts["validation"], masks, pieces[1], _REMEDY)
    return Dataset(
        name="ade20k",
        classes=CLASSES,
        palette=distinct_colors(len(CLASSES)),
        images=images,
        masks=masks,
        train=tuple(sorted(parts["training"])),
        val=tuple(sorted(parts["validation"])),
        decode_mask=TableMasks(table=_VALUES, remedy=_PREPARED) if official else IndexMasks(),
    )
