"""Makes voc_animals, a benchmark of 3,576 small images and 7 classes, from the official folders of VOC 2012 and SBD.

python docs/making/voc_animals.py --voc DIR [--sbd DIR] --output DIR

The ids are listed in docs/making/voc_animals. Images of val, test and `train_fine.txt` get the masks of VOC; the others
those of SBD, which have no border of ignored pixels. SBD's own files (`cls/*.mat`) need SciPy (`uv run --with scipy`);
without `--sbd`, the masks are those of the folder SegmentationClassAug in VOC2012.
"""

import argparse
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

from dmtc.core.errors import DataError
from dmtc.core.files import replacing_folder
from dmtc.core.types import IGNORE_INDEX, UInt8Array
from dmtc.data.listed import MASK_SUFFIXES, find_files
from dmtc.data.masks import IndexMasks
from dmtc.data.official import find_piece
from dmtc.data.opening import PILLOW_FAULTS
from dmtc.data.voc import CLASSES, OWN_MASKS, SBD_MASKS, voc, voc_palette

LISTS = Path(__file__).with_suffix("")
PARTS = ("train", "val", "test")
KEPT = ("background", "cat", "cow", "dog", "horse", "person", "sheep")
"""The classes in index order; every other class of VOC becomes background."""

LONGEST, QUALITY = 288, 90
TABLE = np.full(256, IGNORE_INDEX, np.uint8)
TABLE[: len(CLASSES)] = [KEPT.index(name) if name in KEPT else 0 for name in CLASSES]
Reader = Callable[[Path], UInt8Array]
REMEDY = (
    "download benchmark.tgz from https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/"
    " and unpack it; --sbd is its folder dataset, which holds cls"
)


def make(source: Path, sbd: Path | None, output: Path) -> None:
    """Write the whole folder, or nothing.

    Raises:
        DataError: A folder, an image or a mask is missing or unreadable, or the output folder is not empty.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{output} is not an empty folder; choose a new one")
    ids = {name: (LISTS / f"{name}.txt").read_text("utf-8").split() for name in (*PARTS, "train_fine")}
    images = voc(root=str(source), masks=OWN_MASKS, unlabelled=None).images
    base = next(iter(images.values())).parents[1]
    fine = set(ids["train_fine"] + ids["val"] + ids["test"])
    folder, suffixes, read_sbd = sbd_masks(base, sbd)
    require("images", [id for part in PARTS for id in ids[part]], images, base / "JPEGImages")
    own, loose = find_files(base / OWN_MASKS, MASK_SUFFIXES), find_files(folder, suffixes)
    require("masks", sorted(fine), own, base / OWN_MASKS)
    require("masks", [id for id in ids["train"] if id not in fine], loose, folder)
    with replacing_folder(output) as written:
        for part in PARTS:
            for kind in ("images", "labels"):
                (written / kind / part).mkdir(parents=True)
            for id in ids[part]:
                label = IndexMasks()(own[id]) if id in fine else read_sbd(loose[id])
                image, mask = reduced(images[id], label)
                image.save(written / "images" / part / f"{id}.jpg", quality=QUALITY, optimize=True)
                mask.save(written / "labels" / part / f"{id}.png", optimize=True)
        (written / "classes.yaml").write_text("classes:\n" + "".join(f"  - {name}\n" for name in KEPT), "utf-8")
        (written / "train_fine.txt").write_text("\n".join(ids["train_fine"]) + "\n", "utf-8")
    print(f"{output}: {', '.join(f'{len(ids[part]):,} images of {part}' for part in PARTS)}")


def sbd_masks(base: Path, sbd: Path | None) -> tuple[Path, tuple[str, ...], Reader]:
    """The folder of SBD's masks, the suffixes of its files, and what reads one."""
    if sbd is None:
        return find_piece("voc_animals", base, SBD_MASKS, (), f"or give --sbd: {REMEDY}"), MASK_SUFFIXES, IndexMasks()
    try:
        load = import_module("scipy.io").loadmat
    except ImportError as error:
        raise DataError("SBD's .mat files need SciPy: uv run --with scipy python docs/making/voc_animals.py") from error

    def read(path: Path) -> UInt8Array:
        try:
            return np.asarray(load(path)["GTcls"]["Segmentation"][0, 0], np.uint8)
        except Exception as error:  # SciPy has many for a broken file
            raise DataError(f"{path}: cannot be read as a mask of SBD ({' '.join(str(error).split())})") from error

    return find_piece("voc_animals", sbd, "cls", ("dataset", "*/dataset"), REMEDY), (".mat",), read


def require(what: str, ids: list[str], found: dict[str, Path], folder: Path) -> None:
    """Refuse to begin if files are missing."""
    if missing := [id for id in ids if id not in found]:
        raise DataError(f"{folder}: {len(missing)} of {len(ids)} {what} are missing; the first is {missing[0]}")


def reduced(path: Path, label: UInt8Array) -> tuple[Image.Image, Image.Image]:
    """An image and its mask, 288 pixels or less: Lanczos for the image, the nearest pixel for the mask."""
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except PILLOW_FAULTS as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from error
    if label.shape != image.size[::-1]:
        raise DataError(f"{path}: has {image.width}x{image.height} pixels, its mask {label.shape[1]}x{label.shape[0]}")
    scale = min(1, LONGEST / max(image.size))
    size = (round(image.width * scale), round(image.height * scale))
    mask = Image.fromarray(TABLE[label]).resize(size, Image.Resampling.NEAREST)
    mask.putpalette(voc_palette(256).tobytes())
    return image.resize(size, Image.Resampling.LANCZOS), mask


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voc", type=Path, required=True, help="the folder VOC2012, or one around it")
    parser.add_argument("--sbd", type=Path, help="SBD's folder dataset, which holds cls/*.mat")
    parser.add_argument("--output", type=Path, required=True, help="the folder to make")
    given = parser.parse_args()
    try:
        make(given.voc, given.sbd, given.output)
    except (DataError, OSError) as error:
        print(str(error).replace("dataset.root", "--voc"), file=sys.stderr)
        sys.exit(2)
