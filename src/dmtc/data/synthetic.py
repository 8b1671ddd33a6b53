"""The built-in data set: drawn once into a cache folder, then read like any other."""

import atexit
import re
import shutil
import tempfile
from functools import cache
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock

from dmtc.core.errors import ConfigError, DataError
from dmtc.core.files import remove_unfinished_of, replacing_folder
from dmtc.core.randomness import generator_of
from dmtc.core.system_errors import FULL
from dmtc.core.types import UInt8Array
from dmtc.data.dataset import DATASETS, Dataset
from dmtc.data.listed import IMAGE_SUFFIXES
from dmtc.data.masks import IndexMasks
from dmtc.data.official import read_listed
from dmtc.data.scenes import CLASSES, RARE_SHARE, draw_scene

_OURS = re.compile(r"\.?v\d+-seed.*")
"""Names of the folders drawn here and of their lock files."""

_FOLDERS = ("images", "masks", "labels", "train", "val", "test")
_FOLDERS += ("jpegimages", "leftimg8bit", "gtfine", "voc2012", "vocdevkit")
"""Typical folder names of data sets."""

_LOOKED_AT = 200

DRAWING_VERSION = 1
"""Part of the cache folder's name. Raise it when the drawing changes, so that old pictures are not reused."""


@DATASETS.register("synthetic")
def synthetic(*, root: str, seed: int, train_images: int, val_images: int, size: int, keeps: bool = True) -> Dataset:
    """Textured, partly occluded objects on cluttered backgrounds; see `dmtc.data.scenes`.

    The first call draws the files and later calls reuse them. If several processes call at once, one draws and the
    others wait.

    Args:
        root: The cache folder; each combination of the other arguments gets its own folder inside.
        seed: Seed of the pictures.
        train_images: Number of training images, all with masks.
        val_images: Number of validation images.
        size: Height and width in pixels, at least 32.
        keeps: Store the files in `root`. If false, existing files are reused, and missing ones are drawn for this
            process only.

    Raises:
        ConfigError: A number is too small, or the folder holds the user's own pictures.
        DataError: The cache folder cannot be written.
    """
    if train_images < 1 or val_images < 1 or size < 32:
        raise ConfigError(
            f"dataset synthetic needs at least one training image, one validation image and 32 pixels,"
            f" but got train_images={train_images}, val_images={val_images}, size={size}"
        )
    cache = Path(root).expanduser()
    target = cache / f"v{DRAWING_VERSION}-seed{seed}-train{train_images}-val{val_images}-size{size}"
    if not target.exists():
        _refuse_pictures(cache)
        if not keeps:
            target = _for_this_process() / target.name
        try:
            _make(target, seed, {"train": train_images, "val": val_images}, size)
        except OSError as error:
            if error.errno in FULL:
                raise  # a machine failure
            raise DataError(
                f"{cache}: the pictures cannot be written there ({error.strerror or error}); set dataset.root=DIR"
            ) from error
    return read_listed(
        target,
        name="synthetic",
        classes=tuple(CLASSES),
        palette=np.array(list(CLASSES.values()), np.uint8),
        decode_mask=IndexMasks(),
        remedy=f"delete the folder {target} and it will be drawn again",
    )


def _refuse_pictures(folder: Path) -> None:
    """Refuse to draw among the user's own pictures: such a folder means that the user wants another data set.

    Raises:
        ConfigError: The folder holds pictures, or folders typical of a data set.
    """
    try:
        entries = [entry for entry in sorted(folder.iterdir())[:_LOOKED_AT] if not _OURS.fullmatch(entry.name)]
        inner = [one for entry in entries if entry.is_dir() for one in islice(entry.iterdir(), _LOOKED_AT)]
    except OSError:
        return  # reported when writing there
    named = [entry.name for entry in entries if entry.is_dir() and entry.name.lower() in _FOLDERS]
    pictures = [one for one in (*entries, *inner) if one.suffix.lower() in IMAGE_SUFFIXES]
    if named or pictures:
        what = f"a folder {named[0]}" if named else f"pictures, such as {pictures[0].relative_to(folder)}"
        raise ConfigError(
            f"dataset.root={folder} holds {what}: are these your pictures? Set experiment=your_data dataset.root="
            f"{folder} (or dataset=folder, or what it is: voc, cityscapes, camvid); without, it is the built-in data"
            " set, which draws its own pictures"
        )


@cache
def _for_this_process() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="dmtc-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _make(target: Path, seed: int, counts: dict[str, int], size: int) -> None:
    """Draw everything into a temporary folder, then rename it to the target, which is thus complete or absent."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        if target.exists():
            return
        remove_unfinished_of(target)  # left by a killed process
        with replacing_folder(target) as unfinished:
            for part, count in counts.items():
                _draw_part(unfinished, part, count, seed, size)
            (unfinished / "classes.txt").write_text("\n".join(CLASSES) + "\n", "utf-8")


def _draw_part(folder: Path, part: str, count: int, seed: int, size: int) -> None:
    images, labels = folder / "images" / part, folder / "labels" / part
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    ids = [f"{part}_{index:05d}" for index in range(count)]
    # The rare class gets an exact share of the images, so that every seed has it.
    chooser = generator_of("synthetic-rare", seed, part)
    with_rare = set(chooser.permutation(count)[: max(1, round(RARE_SHARE * count))].tolist())
    for index, id in enumerate(ids):
        rng = generator_of("synthetic", seed, part, index)
        image, label = draw_scene(rng, size, rare=index in with_rare)
        _write(images / f"{id}.png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        _write(labels / f"{id}.png", label)
    (folder / f"{part}.txt").write_text("\n".join(ids) + "\n", "utf-8")


def _write(path: Path, picture: UInt8Array | np.ndarray) -> None:
    done, content = cv2.imencode(".png", picture)
    assert done
    path.write_bytes(content.tobytes())
