"""A data set: ids, files and classes. All images and masks are read and checked here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dmtc.core.errors import DataError
from dmtc.core.registry import Registry
from dmtc.core.types import IGNORE_INDEX, Sample, UInt8Array
from dmtc.data.faults import OTHER_SIZE, UNKNOWN_VALUE, FileFault
from dmtc.data.ids import bad_ids
from dmtc.data.images import ImageReader, read_image
from dmtc.data.task import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Images, masks for some of them, and the classes of the masks.

    Constructing one opens no image or mask. Masks are opened only by `mask` and `sample`, so masks of images that are
    used as unlabelled may be missing or even broken.

    Attributes:
        name: The data set's name, as shown in reports.
        classes: Class names; the position of a class is its index in the masks.
        palette: uint8 (C, 3), the RGB color of each class.
        images: Image file by id.
        masks: Mask file by id, only for the ids that have one.
        train: Every training id, with or without a mask, sorted.
        val: The validation ids, sorted; each has a mask.
        decode_mask: Reads a mask file into uint8 (H, W) class indices, `IGNORE_INDEX` where ignored.
        reader: Reads an image file; prediction with the trained networks must read images the same way.
        decode_image: Replaces `reader` for training and scoring, such as a faster `ImageCache`.
        notes: Findings about the data and how they were made, one line each, for the user.
        found: Builder arguments equivalent to what the builder inferred from the files. Given these, it does not infer
            again, so that a resumed run keeps its settings.
        reduction: Factor by which `images` are smaller than the published files: 2 for half height and width.
        test: The test ids, sorted; each has a mask. Never used for training or model selection; scored once at the end.

    Raises:
        DataError: There are more classes than a byte can hold, an id is in two lists or has no image, a validation or
            test id has no mask, or an id leaves its folder (`../x`). One message lists all errors of the lists.

    Examples:
        >>> from dmtc.data.masks import IndexMasks
        >>> dataset = Dataset(
        ...     name="mine",
        ...     classes=("ground", "thing"),
        ...     palette=np.array([[0, 0, 0], [255, 0, 0]], np.uint8),
        ...     images={id: Path(f"images/{id}.jpg") for id in ("one", "two", "three")},
        ...     masks={id: Path(f"masks/{id}.png") for id in ("one", "three")},
        ...     train=("one", "two"),
        ...     val=("three",),
        ...     decode_mask=IndexMasks(),
        ... )
        >>> dataset.masked, dataset.unmasked
        (('one',), ('two',))
    """

    name: str
    classes: tuple[str, ...]
    palette: UInt8Array
    images: Mapping[str, Path]
    masks: Mapping[str, Path]
    train: tuple[str, ...]
    val: tuple[str, ...]
    decode_mask: Callable[[Path], UInt8Array]
    reader: ImageReader = read_image
    decode_image: Callable[[Path], UInt8Array] | None = None
    notes: tuple[str, ...] = ()
    found: Mapping[str, Any] = field(default_factory=dict)
    reduction: int = 1
    test: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.palette.shape == (self.num_classes, 3), self.palette.shape
        assert self.palette.dtype == np.uint8, self.palette.dtype
        if not 1 <= self.num_classes <= IGNORE_INDEX:
            raise DataError(f"{self.name}: {self.num_classes} classes; between 1 and {IGNORE_INDEX} are possible")
        train, val, test = set(self.train), set(self.val), set(self.test)
        listed = train | val | test
        faults = [
            f"{len(ids)} ids are {fault}: {few(ids)}"
            for ids, fault in (
                (train & val, "in both the training and the validation list"),
                (train & test, "in both the training and the test list"),
                (val & test, "in both the validation and the test list"),
                (listed - self.images.keys(), "listed but without an image file"),
                (val - self.masks.keys(), "used for validation but without a mask file"),
                (test - self.masks.keys(), "used for testing but without a mask file"),
            )
            if ids
        ]
        # Files are named after ids: an id such as ../x would read or write outside its folder.
        refused = bad_ids({*listed, *self.images, *self.masks})
        if refused:
            faults = [f"{len(refused)} ids are not allowed: {few(refused)}"]
        if faults:
            raise DataError(f"{self.name}: {'; '.join(faults)}")

    @property
    def num_classes(self) -> int:
        """The number of classes C."""
        return len(self.classes)

    @property
    def task(self) -> Task:
        """What a network needs to know about the data set to predict."""
        return Task(
            dataset=self.name, classes=self.classes, palette=self.palette, reduction=self.reduction, reader=self.reader
        )

    @property
    def masked(self) -> tuple[str, ...]:
        """The training ids that have a mask."""
        return tuple(id for id in self.train if id in self.masks)

    @property
    def unmasked(self) -> tuple[str, ...]:
        """The training ids that have no mask."""
        return tuple(id for id in self.train if id not in self.masks)

    def image(self, id: str) -> UInt8Array:
        """Read an image.

        Gray images become three equal channels, transparency is dropped, and other number types become 8 bits
        (`ImageReader`). Orientation tags are ignored, because masks have none.

        Returns:
            uint8 (H, W, 3), RGB.

        Raises:
            DataError: The id is unknown, or its file is missing or not an image.
        """
        return (self.decode_image or self.reader)(self._path(self.images, id, "image"))

    def mask(self, id: str) -> UInt8Array:
        """Read a mask.

        Returns:
            uint8 (H, W), class index or `IGNORE_INDEX`.

        Raises:
            DataError: The id is unknown or has no mask, or its file is missing, not a mask, or holds unknown values.
        """
        path = self._path(self.masks, id, "mask")
        mask = self.decode_mask(path)
        unknown = mask[(mask >= self.num_classes) & (mask != IGNORE_INDEX)]
        if unknown.size:
            values = dict(zip(*(part.tolist() for part in np.unique(unknown, return_counts=True)), strict=True))
            raise FileFault(
                f"{path}: {unknown.size} pixels have the unknown class {', '.join(map(str, values))};"
                f" known are 0..{self.num_classes - 1}, and {IGNORE_INDEX} for ignored pixels",
                UNKNOWN_VALUE,
                {f"value {value}": count for value, count in values.items()},
            )
        return mask

    def sample(self, id: str) -> Sample:
        """Read an image with its mask.

        Raises:
            DataError: As for `image` and `mask`, or their sizes differ.
        """
        image, label = self.image(id), self.mask(id)
        if image.shape[:2] != label.shape:
            raise FileFault(
                f"{self.images[id]} is {size_text(image.shape)} pixels but its mask {self.masks[id]} is"
                f" {size_text(label.shape)}; both must be the same size",
                OTHER_SIZE,
            )
        return Sample(id=id, image=image, label=label)

    def colored(self, label: UInt8Array) -> UInt8Array:
        """Color a label uint8 (H, W) by class, ignored pixels white; returns uint8 (H, W, 3)."""
        return self.task.color_table[label]

    def _path(self, files: Mapping[str, Path], id: str, kind: str) -> Path:
        if id not in files:
            raise DataError(f"{self.name}: there is no {kind} for the id {id!r} (first ids: {few(self.train)})")
        return files[id]


DATASETS: Registry[Dataset] = Registry("dataset", runtime=["open_test", "keeps"])
"""The registered data sets. A builder takes its YAML arguments and returns a `Dataset`. It may also take
`open_test: bool`, whether it may open test files, and `keeps: bool`, whether it may write to its configured folder."""


def few(ids: set[str] | tuple[str, ...] | list[str], limit: int = 3) -> str:
    """List the first ids in sorted order, for a message."""
    shown = sorted(ids)[:limit]
    return ", ".join(shown) + (", ..." if len(ids) > limit else "")


def size_text(shape: tuple[int, ...]) -> str:
    """Format an array's shape (H, W, ...) as width x height, for a message."""
    return f"{shape[1]}x{shape[0]}"
