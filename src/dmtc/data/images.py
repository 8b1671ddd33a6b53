"""Fast reading of image files; truncated files are refused."""

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
"""Last bytes of a complete JPEG or PNG, by its first bytes."""

_REMEDY = "replace the file or remove it from the data set"
_CHUNK = 1 << 20  # values scaled at a time

# Otherwise OpenCV logs every unreadable file, in addition to our message.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Reads image files as 8-bit RGB. Each data set has one, and prediction uses the same.

    Unsigned 8-bit values are kept as they are. All others are mapped to 0..255 by one monotonic rule, the same for
    every file: by `value_range` if given, else by the type's own range, that is, the upper 8 of 16 bits, for signed
    values after shifting the lowest value to 0. Floating-point and 32-bit values have no natural range and need
    `value_range`.

    Attributes:
        bands: Bands to use as red, green and blue, or one to use as gray, counted from 1 like in GDAL and QGIS. None:
            the first three, or the only one; transparency is dropped.
        value_range: Values mapped to 0 and 255; values outside are clipped. Not applied to unsigned 8-bit values.

    Raises:
        ConfigError: `bands` is not 1 or 3 bands, or `value_range` is not two increasing values.
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
        """Create a reader from settings, which are lists."""
        span = None if value_range is None else tuple(float(value) for value in value_range)
        return cls(None if bands is None else tuple(bands), span)  # pyright: ignore[reportArgumentType]  # checked

    def __call__(self, path: Path, upright: bool = False) -> UInt8Array:
        """Read an image.

        Orientation tags are ignored by default, because masks have none.

        Args:
            path: The file.
            upright: Apply the orientation tag, for pictures that never get a mask.

        Returns:
            uint8 (H, W, 3), RGB.

        Raises:
            FileFault: The file is missing, cut off or not an image, or its bands or values do not fit `bands` and
                `value_range`.
        """
        return self.decode(read_bytes(path), path, upright)

    def decode(self, content: bytes, path: Path, upright: bool = False) -> UInt8Array:
        """Decode an image from a file's bytes, like `__call__`; the path is for messages."""
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
            image = _by_pillow(content, path)  # some OpenCV builds misread GIF, and PNM of other than 8 or 16 bits
            image = image if self.bands is None else self._chosen(image, path, self.bands)
            return np.ascontiguousarray(image if image.dtype == np.uint8 else self._to_bytes(image, path, ""))
        _require_end(content, path)
        _require_room(content, path)
        deep = self.value_range is not None
        # Decode from memory, because cv2.imread cannot open every path on Windows.
        flags = cv2.IMREAD_COLOR_RGB | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
        try:
            flags |= cv2.IMREAD_ANYDEPTH if deep else 0
            image = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
        except cv2.error:  # larger than OpenCV allows
            image = None
        if image is None:
            _explain(content, path)
            raise FileFault(f"{path}: cannot be read as an image; {_REMEDY}", UNREADABLE_IMAGE)
        if self.bands is not None:
            image = self._chosen(image, path, self.bands)
        return np.asarray(image, np.uint8) if image.dtype == np.uint8 else self._to_bytes(image, path, "")

    def _to_image(self, values: np.ndarray, facts: TiffFacts, path: Path) -> UInt8Array:
        """Convert the values (H, W, bands) of a TIFF to an image."""
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
        """Map values (H, W, C) of any type to 8 bits, keeping their order."""
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
"""The default `ImageReader`, for images of 8 or 16 bits."""


def read_bytes(path: Path) -> bytes:
    """Read the bytes of a file.

    Raises:
        FileFault: The file is missing, not readable, or a pipe or device.
    """
    try:
        return read_regular(path)
    except DataError as error:
        raise FileFault(str(error), UNREADABLE_IMAGE) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileFault(f"{path}: cannot be read ({reason})", UNREADABLE_IMAGE) from error


def kind_of(facts: TiffFacts) -> str:
    """Describe a TIFF's values, for example "float32, 5 bands"."""
    numbers = f"a TIFF of {facts.bits} bits" if facts.dtype is None else str(facts.dtype.newbyteorder("="))
    bands = facts.bands - facts.has_alpha
    return f"{numbers}, {bands} band{'' if bands == 1 else 's'}"


def value_span(values: np.ndarray, nodata: float | None = None) -> tuple[float, float] | None:
    """Minimum and maximum, leaving out NaN, infinity and `nodata`; None if no value is left."""
    if nodata is not None:
        values = values[values != nodata]
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else None


def _by_pillow(content: bytes, path: Path) -> np.ndarray:
    """Read a PNM or the first frame of a GIF as uint8 or uint16 (H, W, 3). Drops transparency."""
    try:
        with open_picture(io.BytesIO(content)) as picture:
            require_room(path, picture.height, picture.width, 9)
            if picture.mode not in ("I", "I;16"):
                return np.asarray(picture.convert("RGB"))
            deep = np.asarray(picture).astype(np.uint16)  # Pillow rescales values to 16 bits, whatever their maximum
            return np.repeat(deep[..., None], 3, axis=2)
    except PILLOW_FAULTS as error:
        raise FileFault(f"{path}: cannot be read as an image ({error}); {_REMEDY}", UNREADABLE_IMAGE) from error


def _scaled(values: np.ndarray, low: float, high: float) -> UInt8Array:
    """Map `low` to 0 and `high` to 255 with clipping, a few rows at a time; NaN becomes 0."""
    image = np.empty(values.shape, np.uint8)
    step = max(1, _CHUNK // max(1, values.shape[1] * values.shape[2]))
    for row in range(0, len(values), step):
        part = values[row : row + step].astype(np.float64)
        part = np.clip((part - low) * (255 / (high - low)), 0, 255)
        image[row : row + step] = np.rint(np.nan_to_num(part, copy=False)).astype(np.uint8)
    return image


def _turned(image: UInt8Array, orientation: int) -> UInt8Array:
    """Rotate and flip an image according to an EXIF orientation tag."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _require_room(content: bytes, path: Path) -> None:
    """Refuse a huge picture before decoding: OpenCV would fail without a reason or use up all memory."""
    if content[:4] == b"\x89PNG" and len(content) >= 24:
        width, height = struct.unpack(">II", content[16:24])  # by hand, because this runs for every PNG
        require_room(path, height, width, 4)


def _explain(content: bytes, path: Path) -> None:
    """Raise the proper error if OpenCV refused a picture for its size."""
    try:
        with open_picture(io.BytesIO(content)) as picture:
            height, width = picture.height, picture.width
    except PILLOW_FAULTS:
        return
    require_room(path, height, width, 4)


def _require_end(content: bytes, path: Path) -> None:
    """Refuse a truncated file: some versions of OpenCV silently fill the missing part with gray."""
    end = _ENDS.get(content[:2])
    if end is None or content.endswith(end):
        return
    # Cameras append their own data, so other last bytes prove nothing. Pillow is slow but rarely needed here.
    try:
        with open_picture(io.BytesIO(content)) as picture:
            picture.load()
    except PILLOW_FAULTS as error:
        raise FileFault(f"{path}: cannot be read as an image, it is cut off ({error}); {_REMEDY}", CUT_OFF_IMAGE) from (
            error
        )
