"""Reading image files: quickly, and whole or not at all."""

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dmtc.core.errors import ConfigError, DataError
from dmtc.core.files import read_regular
from dmtc.core.types import UInt8Array
from dmtc.data.faults import CUT_OFF_IMAGE, IMAGE_VALUES, UNREADABLE_IMAGE, FileFault
from dmtc.data.opening import PILLOW_FAULTS, open_picture, require_room
from dmtc.data.tiff import TiffFacts, TiffFault, facts_of_tiff, is_tiff, read_tiff

_ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND\xaeB`\x82"}
"""The last bytes of a whole JPEG and PNG, by their first."""

_REMEDY = "replace the file or remove it from the data set"
_ROWS = 1 << 20  # pixels that are scaled together

# OpenCV would write lines of its own about every file that it cannot read, besides ours.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Reads image files into 8 bits and three channels; a data set, and whoever predicts like it, has one.

    Numbers of 8 bits without sign are taken as they are. Others need a rule by which they become 0..255 in every file
    alike, so that order and meaning are kept: `value_range`, if there is one, else the type's own range: the upper 8
    of 16 bits, and for numbers with a sign the same after their lowest value became 0. Floating and 32-bit numbers have
    no such range of their own and need one.

    Attributes:
        bands: Which bands become red, green and blue, or the one that becomes gray, counted from 1 as GDAL and QGIS do.
            None: the first three, or the only one; transparency is dropped.
        value_range: The values that become 0 and 255; what lies beyond becomes the nearer one. Not for 8 bits without
            sign.

    Raises:
        ConfigError: These are not 1 or 3 bands, or not two different values.
    """

    bands: tuple[int, ...] | None = None
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.bands is not None and (len(self.bands) not in (1, 3) or min(self.bands) < 1):
            raise ConfigError(
                "dataset.bands should be three bands, or one, counted from 1 ([4,3,2], or [1]), but is"
                f" {list(self.bands)}"
            )
        span = self.value_range
        if span is not None and (len(span) != 2 or not np.isfinite(span).all() or not span[0] < span[1]):
            raise ConfigError(
                f"dataset.value_range should be the values that become black and white ([0,10000]), but is {list(span)}"
            )

    @classmethod
    def of(cls, bands: Sequence[int] | None, value_range: Sequence[float] | None) -> "ImageReader":
        """From settings, which are lists."""
        span = None if value_range is None else tuple(float(value) for value in value_range)
        return cls(None if bands is None else tuple(bands), span)  # pyright: ignore[reportArgumentType]  # checked

    def __call__(self, path: Path, upright: bool = False) -> UInt8Array:
        """Read an image.

        An orientation tag is not followed, because masks carry none.

        Args:
            path: The file.
            upright: Follow the orientation tag all the same, for pictures that have no mask and never get one.

        Returns:
            uint8 (H, W, 3), RGB.

        Raises:
            FileFault: The file is missing, cut off, or no image, or has other bands or values than `bands` and
                `value_range` are for.
        """
        return self.decode(read_bytes(path), path, upright)

    def decode(self, content: bytes, path: Path, upright: bool = False) -> UInt8Array:
        """The same, from the bytes of the file; its path is for messages."""
        if is_tiff(content):
            try:
                facts = facts_of_tiff(content)
                if facts.is_plain:
                    require_room(path, facts.height, facts.width, 2 * facts.bands * facts.bits / 8 + 4)
                    image = self._to_image(read_tiff(content, facts), facts, path)
                    return _turned(image, facts.orientation) if upright else image
            except TiffFault as error:
                raise FileFault(f"{path}: cannot be read as an image ({error}); {_REMEDY}", UNREADABLE_IMAGE) from error
            if facts.bits > 8:
                raise FileFault(
                    f"{path}: {kind_of(facts)} cannot be read; convert it to numbers of 8, 16 or 32 bits", IMAGE_VALUES
                )
        if content[:4] == b"GIF8" or content[:2] in (b"P2", b"P3", b"P5", b"P6"):
            image = _by_pillow(content, path)  # not every OpenCV reads GIF, nor PNM of other than 8 or 16 bits rightly
            image = image if self.bands is None else self._chosen(image, path, self.bands)
            return np.ascontiguousarray(image if image.dtype == np.uint8 else self._to_bytes(image, path, ""))
        _require_end(content, path)
        _require_room(content, path)
        deep = self.value_range is not None
        # Decoding from memory, as cv2.imread cannot open every path on Windows.
        flags = cv2.IMREAD_COLOR_RGB | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
        try:
            flags |= cv2.IMREAD_ANYDEPTH if deep else 0
            image = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
        except cv2.error:  # it claims to be larger than OpenCV allows
            image = None
        if image is None:
            _explain(content, path)
            raise FileFault(f"{path}: cannot be read as an image; {_REMEDY}", UNREADABLE_IMAGE)
        if self.bands is not None:
            image = self._chosen(image, path, self.bands)
        return np.asarray(image, np.uint8) if image.dtype == np.uint8 else self._to_bytes(image, path, "")

    def _to_image(self, values: np.ndarray, facts: TiffFacts, path: Path) -> UInt8Array:
        """From the numbers (H, W, bands) of a TIFF."""
        kind, bands = kind_of(facts), facts.bands - facts.has_alpha
        if self.bands is not None:
            chosen = self._chosen(values, path, self.bands)
        elif bands == 2:
            raise FileFault(
                f"{path}: {kind}, which are neither gray nor RGB: dataset.bands=[1,2,1] would show both,"
                " dataset.bands=[1] the first",
                IMAGE_VALUES,
            )
        else:
            chosen = values[..., :3] if bands > 2 else values[..., :1]
        chosen = ~chosen if facts.is_inverted and chosen.dtype == np.uint8 else chosen
        image = chosen if chosen.dtype == np.uint8 else self._to_bytes(chosen, path, kind)
        return np.ascontiguousarray(np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image)

    def _chosen(self, values: np.ndarray, path: Path, bands: tuple[int, ...]) -> np.ndarray:
        there = values.shape[2]
        if max(bands) > there:
            raise FileFault(
                f"{path}: there is no band {max(bands)} in it, only {there}, but dataset.bands is {list(bands)}",
                IMAGE_VALUES,
            )
        chosen = values[..., [band - 1 for band in bands]]
        return np.repeat(chosen, 3, axis=2) if len(bands) == 1 else chosen

    def _to_bytes(self, values: np.ndarray, path: Path, kind: str) -> UInt8Array:
        """From any numbers (H, W, C) to bytes; never one that was smaller to one that is larger."""
        if self.value_range is not None:
            return _scaled(values, *self.value_range)
        if values.dtype == np.uint16:
            return (values >> 8).astype(np.uint8)
        if values.dtype == np.int16:
            return ((values.view(np.uint16) ^ 0x8000) >> 8).astype(np.uint8)
        if values.dtype == np.int8:
            return (values.view(np.uint8) ^ 0x80).astype(np.uint8)
        span = value_span(values)
        shown = "no number" if span is None else f"values {span[0]:.7g} to {span[1]:.7g}"
        raise FileFault(
            f"{path}: {kind or values.dtype}, {shown}: dataset.value_range=[LOW,HIGH] says which become black and white"
            " in all images, and dataset.bands which bands are read",
            IMAGE_VALUES,
        )


read_image = ImageReader()
"""Reads images whose numbers have 8 or 16 bits, as `ImageReader` does without settings."""


def read_bytes(path: Path) -> bytes:
    """What a file holds.

    Raises:
        FileFault: It is missing, may not be read, or is a pipe or device.
    """
    try:
        return read_regular(path)
    except DataError as error:
        raise FileFault(str(error), UNREADABLE_IMAGE) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileFault(f"{path}: cannot be read ({reason})", UNREADABLE_IMAGE) from error


def kind_of(facts: TiffFacts) -> str:
    """What a TIFF holds, as "float32, 5 bands"."""
    numbers = f"a TIFF of {facts.bits} bits" if facts.dtype is None else str(facts.dtype.newbyteorder("="))
    bands = facts.bands - facts.has_alpha
    return f"{numbers}, {bands} band{'' if bands == 1 else 's'}"


def value_span(values: np.ndarray, nodata: float | None = None) -> tuple[float, float] | None:
    """The smallest and the largest number, but for NaN, infinity and the value that holds no data; None if none is."""
    if nodata is not None:
        values = values[values != nodata]
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else None


def _by_pillow(content: bytes, path: Path) -> np.ndarray:
    """The first frame of a GIF, or a PNM: uint8 or uint16 (H, W, 3). Transparency is dropped."""
    try:
        with open_picture(io.BytesIO(content)) as picture:
            require_room(path, picture.height, picture.width, 9)
            if picture.mode not in ("I", "I;16"):
                return np.asarray(picture.convert("RGB"))
            deep = np.asarray(picture).astype(np.uint16)  # Pillow spreads numbers over 16 bits, whatever the largest is
            return np.repeat(deep[..., None], 3, axis=2)
    except PILLOW_FAULTS as error:
        raise FileFault(f"{path}: cannot be read as an image ({error}); {_REMEDY}", UNREADABLE_IMAGE) from error


def _scaled(values: np.ndarray, low: float, high: float) -> UInt8Array:
    """`low` to 0 and `high` to 255, a few rows at a time; NaN becomes 0."""
    image = np.empty(values.shape, np.uint8)
    step = max(1, _ROWS // max(1, values.shape[1] * values.shape[2]))
    for row in range(0, len(values), step):
        part = values[row : row + step].astype(np.float64)
        part = np.clip((part - low) * (255 / (high - low)), 0, 255)
        image[row : row + step] = np.rint(np.nan_to_num(part, copy=False)).astype(np.uint8)
    return image


def _turned(image: UInt8Array, orientation: int) -> UInt8Array:
    """The image as EXIF's orientation tag says it is to be seen."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _require_room(content: bytes, path: Path) -> None:
    """Tell in time that a huge picture cannot be decoded, and why: OpenCV says nothing, or takes all memory."""
    if content[:4] == b"\x89PNG" and len(content) >= 24:
        width, height = struct.unpack(">II", content[16:24])  # as quick as that, since every PNG is asked
        require_room(path, height, width, 4)


def _explain(content: bytes, path: Path) -> None:
    """Tell why OpenCV has refused a picture, if it is for its size."""
    try:
        with open_picture(io.BytesIO(content)) as picture:
            height, width = picture.height, picture.width
    except PILLOW_FAULTS:
        return
    require_room(path, height, width, 4)


def _require_end(content: bytes, path: Path) -> None:
    """Refuse a file that stops early: some versions of OpenCV fill what is missing with gray and say nothing."""
    end = _ENDS.get(content[:2])
    if end is None or content.endswith(end):
        return
    # Cameras append things of their own, so the bytes alone prove nothing; Pillow takes its time, but seldom.
    try:
        with open_picture(io.BytesIO(content)) as picture:
            picture.load()
    except PILLOW_FAULTS as error:
        raise FileFault(f"{path}: cannot be read as an image, it is cut off ({error}); {_REMEDY}", CUT_OFF_IMAGE) from (
            error
        )
