"""Images and masks from Python (a torch `Dataset`, lists, arrays in memory), written once as a folder to train on."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from dmtc.core.errors import ConfigError, DataError
from dmtc.core.files import read_regular, remove_unfinished_of, replacing_folder
from dmtc.core.ownership import require_folder
from dmtc.core.types import IGNORE_INDEX, UInt8Array
from dmtc.data.dataset import size_text
from dmtc.data.folder.class_lists import class_list_yaml
from dmtc.data.images import read_image
from dmtc.data.masks import distinct_colors
from dmtc.data.part_names import Part
from dmtc.prediction.image_files import palette_png, rgb_png
from dmtc.prediction.inputs import as_rgb

_RECORD = "pairs.json"
"""Says what a folder was written from."""

_MASK_KEYS = ("mask", "label", "annotation")

Pairs = Any
"""Pairs (image, mask) by position, such as a torch `Dataset` or a list, or one tuple (images, masks)."""


class _Pair(NamedTuple):
    """A pair, or an image alone, and its place in what was given."""

    where: str
    image: UInt8Array
    mask: UInt8Array | None


def write_pairs(
    folder: str | Path,
    *,
    train: Pairs,
    classes: Sequence[str],
    val: Pairs | None = None,
    test: Pairs | None = None,
    unlabelled: Pairs | None = None,
    ignore_value: int | None = None,
) -> list[str]:
    """Write images and masks from Python as a folder, once, and return the overrides that train on it.

    As files, they work with every job, with loader processes, and with runs that are resumed or read in another
    program. A folder with the same pairs is used again without being written.

    Args:
        folder: A new folder, or one that was written from the same pairs.
        train: Pairs (image, mask) by position: a torch `Dataset`, a list, or a tuple (images, masks) of arrays or
            lists. An image is a file, a PIL image, or an array or tensor (H, W), (H, W, 3) or (3, H, W), uint8 or float
            in [0, 1]. A mask has class indices, (H, W) or with one channel, or is None. An item may also be a mapping
            with `image` and `mask`, `label` or `annotation`. Leave random augmentation to the run.
        classes: Class names in index order.
        val: Validation pairs; None holds out a share of the training pairs.
        test: Test pairs.
        unlabelled: Images without masks; of pairs, the masks are left out.
        ignore_value: A value of masks that means "ignored", besides 255, such as -1.

    Returns:
        Overrides for `dmtc.train`, `dmtc.compose` or the command line.

    Raises:
        ConfigError: The folder holds something else.
        DataError: An image or mask is none, its values are no classes, or the two differ in size.

    Examples:
        >>> import dmtc
        >>> import numpy as np
        >>> images, masks = np.zeros((4, 32, 32, 3), np.uint8), np.zeros((4, 32, 32), np.int64)
        >>> masks[:, 8:24, 8:24] = 1
        >>> data = dmtc.write_pairs("pairs", train=(images, masks), classes=["ground", "thing"])
        >>> data
        ['dataset=folder', 'dataset.root=pairs', 'dataset.mask_kind=index']
        >>> dmtc.compose(["method=dmt", *data]).dataset.name
        'folder'
    """
    folder = Path(folder)
    require_folder(folder, "folder")
    if not classes or isinstance(classes, str) or not all(isinstance(name, str) and name for name in classes):
        raise ConfigError(f'classes should be names in index order, such as ["ground", "thing"], but is {classes!r}')
    parts: dict[Part, Pairs] = {"train": train, "val": val, "test": test, "unlabelled": unlabelled}
    given: dict[Part, Pairs] = {part: pairs for part, pairs in parts.items() if pairs is not None}
    overrides = ["dataset=folder", f"dataset.root={folder}", "dataset.mask_kind=index"]
    written = _record_of(folder)
    if written is not None:
        digest = _Writer(None, classes, ignore_value).write(given)
        if digest != written["sha256"] or not all((folder / name).is_file() for name in written["files"]):
            raise ConfigError(
                f"{folder} was written from other pairs, or other pairs come each time, such as randomly augmented"
                " ones; choose another folder, or delete it"
            )
        return overrides
    remove_unfinished_of(folder.absolute())
    with replacing_folder(folder) as new:
        digest = _Writer(new, classes, ignore_value).write(given)
        files = sorted(path.relative_to(new).as_posix() for path in new.rglob("*") if path.is_file())
        (new / _RECORD).write_text(json.dumps({"sha256": digest, "files": files}, indent=0) + "\n", "utf-8")
    return overrides


def _record_of(folder: Path) -> dict[str, Any] | None:
    """What a folder was written from; None if there is none yet, or it is empty."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    try:
        record = json.loads(read_regular(folder / _RECORD))
        return {"sha256": str(record["sha256"]), "files": [str(name) for name in record["files"]]}
    except (OSError, DataError, ValueError, LookupError, TypeError):
        raise ConfigError(f"{folder} holds other files, which are left alone; choose a folder that is new") from None


class _Writer:
    """Reads pairs, and writes them unless there is no folder.

    Args:
        folder: To write into; None only reads.
        classes: Class names in index order.
        ignore_value: See `write_pairs`.
    """

    def __init__(self, folder: Path | None, classes: Sequence[str], ignore_value: int | None) -> None:
        self._folder = folder
        self._classes = classes
        self._ignore_value = ignore_value
        self._colors = distinct_colors(len(classes))
        self._palette = np.full((256, 3), 255, np.uint8)
        self._palette[: len(classes)] = self._colors

    def write(self, parts: Mapping[Part, Pairs]) -> str:
        """Write every part; returns a fingerprint of all pixels."""
        digest = hashlib.sha256(json.dumps([list(self._classes), list(parts)]).encode())
        masks = 0
        for part, pairs in parts.items():
            for number, pair in enumerate(self._read(part, pairs)):
                masks += pair.mask is not None
                for array in (pair.image, pair.mask):
                    digest.update(b"-" if array is None else f"{array.shape}".encode() + array.tobytes())
                if part in ("val", "test") and pair.mask is None:
                    raise DataError(f"{pair.where}: has no mask, which it is scored on")
                self._save(f"{part}/{number:06d}", pair)
        if not masks:
            raise DataError("no image has a mask; train takes pairs (image, mask)")
        if self._folder is not None:
            content = class_list_yaml(self._classes, self._colors.tolist())
            (self._folder / "classes.yaml").write_text(content, encoding="utf-8")
        return digest.hexdigest()

    def _save(self, id: str, pair: _Pair) -> None:
        if self._folder is None:
            return
        files = {"images": rgb_png(pair.image)}
        if pair.mask is not None:
            files["masks"] = palette_png(pair.mask, self._palette)
        for kind, content in files.items():
            path = self._folder / kind / f"{id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def _read(self, part: Part, pairs: Pairs) -> Iterator[_Pair]:
        for number, (image, mask) in enumerate(_items(part, pairs)):
            where = f"{part}[{number}]"
            try:
                rgb = as_rgb(image, read_image)
            except DataError as error:
                raise DataError(f"{where}: {str(error).replace('predict takes', 'an image is')}") from None
            label = None if mask is None else self._label(mask, where)
            if label is not None and label.shape != rgb.shape[:2]:
                raise DataError(
                    f"{where}: the image is {size_text(rgb.shape)} pixels but its mask is {size_text(label.shape)}"
                )
            yield _Pair(where, rgb, label)

    def _label(self, mask: Any, where: str) -> UInt8Array:
        if isinstance(mask, Tensor):
            mask = mask.detach().cpu().numpy()
        if isinstance(mask, Image.Image | np.ndarray):
            values = np.asarray(mask)
        else:
            raise DataError(f"{where}: a mask is a PIL image, an array or a tensor, but is a {type(mask).__name__}")
        if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
            values = values.squeeze(0 if values.shape[0] == 1 else 2)
        if values.ndim != 2 or 0 in values.shape:
            raise DataError(f"{where}: a mask has one class index per pixel, (H, W), but this one is {values.shape}")
        ignored = values == IGNORE_INDEX
        if self._ignore_value is not None:
            ignored |= values == self._ignore_value
        count = len(self._classes)
        known = ignored | ((values >= 0) & (values < count) & (values == np.floor(values)))
        if not known.all():
            raise DataError(
                f"{where}: the mask value {values[~known][0]} is none of {count} classes, 0 to {count - 1}, nor 255;"
                " ignore_value=VALUE ignores one value"
            )
        return np.where(ignored, IGNORE_INDEX, values).astype(np.uint8)


def _items(part: Part, pairs: Pairs) -> Iterator[tuple[Any, Any]]:
    """Image and mask of each item; the mask is None for unlabelled images."""
    alone = part == "unlabelled"
    if isinstance(pairs, tuple) and len(pairs) == 2 and not isinstance(pairs[0], tuple | Mapping):
        images, masks = pairs
        if not alone and len(images) != len(masks):
            raise DataError(f"{part}: there are {len(images)} images, but {len(masks)} masks")
        yield from ((image, None) for image in images) if alone else zip(images, masks, strict=True)
        return
    for number in range(len(pairs)):  # a torch Dataset need not end by itself when it is iterated
        item = pairs[number]
        if isinstance(item, Mapping):
            found = next((item[key] for key in _MASK_KEYS if key in item), None)
            yield item.get("image"), None if alone else found
        elif isinstance(item, tuple | list) and item:
            yield item[0], None if alone or len(item) < 2 else item[1]
        elif alone:
            yield item, None
        else:
            raise DataError(f"{part}[{number}]: should be a pair (image, mask), but is a {type(item).__name__}")
