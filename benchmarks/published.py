"""Bringing the published code of DMT in from a checkout that lies elsewhere, and a VOC tree both can read.

That code needs Pillow 6 and two packages that are not needed for what is measured; what it looks for is put in place.
"""

import sys
import types
from pathlib import Path

import PIL.Image
import torch

from dmtc.data.synthetic import synthetic

SIZE = (375, 500)
"""Height and width of most VOC images."""


def import_dmt(checkout: Path) -> None:
    """Make the modules of `segmentation/` in a checkout of voldemortX/DST-CBC importable."""
    PIL.PILLOW_VERSION = PIL.__version__  # type: ignore[attr-defined]
    PIL.Image.LINEAR = PIL.Image.BILINEAR  # type: ignore[attr-defined]
    for name in ("accelerate", "torch.utils.tensorboard"):
        absent = types.ModuleType(name)
        absent.Accelerator = absent.SummaryWriter = object  # type: ignore[attr-defined]
        sys.modules[name] = absent
    sys.path.insert(0, str(checkout / "segmentation"))


def write_voc(root: Path, images: int) -> list[str]:
    """Write `images` pictures of VOC's usual size with masks, all unlabelled but for the validation list's one."""
    source = synthetic(root=str(root / "scenes"), seed=0, train_images=images, val_images=1, size=SIZE[1])
    ids = [f"2007_{number:06d}" for number in range(images + 1)]
    for folder in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for id, scene in zip(ids, [*source.train, *source.val], strict=True):
        picture, mask = source.image(scene)[: SIZE[0]], source.mask(scene)[: SIZE[0]]
        PIL.Image.fromarray(picture).save(root / "JPEGImages" / f"{id}.jpg", quality=95)
        PIL.Image.fromarray(mask).save(root / "SegmentationClassAug" / f"{id}.png")
    lists = root / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text(f"{ids[-1]}\n")
    (lists / "50_unlabeled_0.txt").write_text("".join(f"{id}\n" for id in ids[:-1]))
    return ids[:-1]


def blurred_predictions(images: int, classes: int) -> torch.Tensor:
    """Logits (images, classes, 47, 63) as smooth as those of a trained network at output stride 8."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(images, classes, 6, 8, generator=generator) * 6
    return torch.nn.functional.interpolate(coarse, (47, 63), mode="bicubic")


def png_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


__all__ = ["SIZE", "blurred_predictions", "import_dmt", "png_bytes", "write_voc"]
