"""Bringing the published code of DMT in from a checkout that lies elsewhere, and a VOC tree both can read.

That code needs Pillow 6 and two packages that are not needed for what is measured; what it looks for is put in place.
"""

import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import torch

from dmtc.data import DATASETS, Dataset
from dmtc.data.synthetic import synthetic

SIZE = (375, 500)
"""Height and width of most VOC images."""
PSEUDO_LABELS = "SegmentationClassAugPseudo"
"""Where DMT keeps its pseudo-labels in a VOC tree."""


def import_dmt(checkout: Path) -> None:
    """Make the modules of `segmentation/` in a checkout of voldemortX/DST-CBC importable."""
    PIL.PILLOW_VERSION = PIL.__version__  # type: ignore[attr-defined]
    PIL.Image.LINEAR = PIL.Image.BILINEAR  # type: ignore[attr-defined]
    for name in ("accelerate", "torch.utils.tensorboard"):
        absent = types.ModuleType(name)
        absent.Accelerator = absent.SummaryWriter = object  # type: ignore[attr-defined]
        sys.modules[name] = absent
    sys.path.insert(0, str(checkout / "segmentation"))


def published_images(
    checkout: Path, root: Path, transforms: Callable[[Any], Sequence[object]], labelled: bool
) -> torch.utils.data.Dataset[Any]:
    """DMT's data set of the unlabelled images in a tree of `write_voc`.

    Args:
        checkout: Of voldemortX/DST-CBC.
        root: The tree.
        transforms: From its module of transforms, those between its conversion to tensors and its normalization.
        labelled: With the pseudo-labels in `PSEUDO_LABELS`, or without any, to make them.
    """
    import_dmt(checkout)
    import utils.transforms as published  # pyright: ignore[reportMissingImports]  # of the checkout
    from utils.common import imagenet_mean, imagenet_std  # pyright: ignore[reportMissingImports]  # of the checkout
    from utils.datasets import StandardSegmentationDataset  # pyright: ignore[reportMissingImports]  # of the checkout

    chain = [
        published.ToTensor(keep_scale=False, reverse_channels=False),
        *transforms(published),
        published.Normalize(mean=imagenet_mean, std=imagenet_std),
    ]
    return StandardSegmentationDataset(
        root=str(root),
        data_set="voc",
        mask_type=".npy",
        image_set="50_unlabeled_0",
        transforms=published.Compose(chain),
        label_state=1 if labelled else 2,
    )


def write_voc(root: Path, images: int) -> list[str]:
    """Write `images` pictures of VOC's usual size with masks, all unlabelled but for the validation list's one."""
    source = synthetic(root=str(root / "scenes"), seed=0, train_images=images, val_images=1, size=SIZE[1])
    ids = [f"2007_{number:06d}" for number in range(images + 1)]
    for folder in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for id, scene in zip(ids, [*source.train, *source.val], strict=True):
        picture, mask = source.image(scene)[: SIZE[0]], source.mask(scene)[: SIZE[0]]
        # Files of 100 KB, about VOC's mean: how long a JPEG takes to read depends on that most.
        PIL.Image.fromarray(picture).save(root / "JPEGImages" / f"{id}.jpg", quality=98)
        PIL.Image.fromarray(mask).save(root / "SegmentationClassAug" / f"{id}.png")
    lists = root / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text(f"{ids[-1]}\n")
    (lists / "50_unlabeled_0.txt").write_text("".join(f"{id}\n" for id in ids[:-1]))
    return ids[:-1]


def voc(root: Path) -> Dataset:
    """The tree as this library reads it."""
    return DATASETS.build({"name": "voc", "root": str(root), "masks": "SegmentationClassAug", "unlabelled": None})


def blurred_predictions(images: int, classes: int) -> torch.Tensor:
    """Logits (images, classes, 47, 63), one for each cell of a network at output stride 8.

    As sure of themselves as a DeepLabV2 trained on CamVid: the log-odds of the predicted class are 4 in the median. The
    stored predictions are a quarter larger than that network's.
    """
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(images, classes, 6, 8, generator=generator) * 14
    return torch.nn.functional.interpolate(coarse, (47, 63), mode="bicubic")


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


__all__ = [
    "PSEUDO_LABELS",
    "SIZE",
    "blurred_predictions",
    "folder_bytes",
    "import_dmt",
    "published_images",
    "voc",
    "write_voc",
]
