"""Reads mask files into integers of one channel, or into colors, and finds the pixels without data."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from dmtc.core.errors import DataError
from dmtc.core.files import read_regular
from dmtc.core.types import UInt8Array
from dmtc.data.faults import MASK_CHANNELS, TOO_LARGE, UNKNOWN_VALUE, UNREADABLE_MASK, FileFault
from dmtc.data.opening import PILLOW_FAULTS, open_picture, require_room
from dmtc.data.tiff import TiffFacts, TiffFault, facts_of_tiff, is_tiff, read_tiff

Layout = Literal["gray", "palette", "color"]

_GRAY_TOLERANCE = 4  # JPEG and WebP change the channels of a gray picture by up to this much
_EXACT = 1 << 53  # a double represents whole numbers exactly up to here
_SPREAD = {"L;2": 85, "L;4": 17}  # factor by which Pillow scales values of 2 and 4 bits to a byte
_NUMPY = b"\x93NUMPY"


@dataclass(frozen=True, slots=True, eq=False)
class MaskFile:
    """Content of a mask file.

    Attributes:
        values: (H, W) of any integer type; the indices of a palette file. None for color masks. 0 where `nothing`.
        colors: uint8 (H, W, 3), RGB, for color masks only.
        palette: uint8 (256, 3), RGB, for palette files only.
        nothing: bool (H, W), pixels without data: NaN, the file's own nodata value, and ignored values. None if there
            are none.
        ignored: Number of `nothing` pixels by value, as text.
        is_lossy: Whether the format may change values: JPEG, lossy WebP, or a lossy TIFF compression.
        is_either: Whether the file has three equal channels, which may mean a gray or a color mask.
        stored: Storage format, for messages.
    """

    values: npt.NDArray[np.integer[Any]] | None
    colors: UInt8Array | None = None
    palette: UInt8Array | None = None
    nothing: npt.NDArray[np.bool_] | None = None
    ignored: Mapping[str, int] = field(default_factory=dict)
    is_lossy: bool = False
    is_either: bool = False
    stored: str = ""

    @property
    def layout(self) -> Layout:
        """Either "gray" for one channel or equal ones, "palette", or "color"."""
        return "color" if self.values is None else "gray" if self.palette is None else "palette"


def read_mask(path: Path, ignored: Iterable[float] = (), kept: Iterable[int] = ()) -> MaskFile:
    """Read a mask file: PNG, TIFF, BMP, GIF, WebP, JPEG, PNM, or a NumPy array.

    Args:
        path: The file.
        ignored: Values to ignore, besides NaN and the nodata value of a TIFF tag.
        kept: Values that are known to be classes, even if the nodata tag names them.

    Raises:
        FileFault: The file is missing or unreadable, has several pages, or holds fractions.
    """
    try:
        content = read_regular(path)
        if content[:6] == _NUMPY or path.suffix.lower() == ".npy":
            return _of_array(_numpy_array(content), path, ignored, kept, "a NumPy array")
        if is_tiff(content):
            facts = facts_of_tiff(content)
            if facts.pages > 1 and facts.same_size:
                raise FileFault(_pages_text(path, facts.pages), UNREADABLE_MASK)
            if facts.is_plain:
                require_room(path, facts.height, facts.width, 3 * facts.bands * facts.bits / 8)
                values, nodata = read_tiff(content, facts), facts.nodata
                return _of_array(values, path, ignored, kept, _stored(facts), nodata, alpha=facts.has_alpha)
            if facts.bits > 8:
                raise FileFault(
                    f"{path}: cannot be read as a mask (numbers of {facts.bits} bits); save it with 8 or 16",
                    UNREADABLE_MASK,
                )
            return _of_pillow(content, path, ignored, kept, facts)
        return _of_pillow(content, path, ignored, kept, None)
    except FileNotFoundError as error:
        raise FileFault(f"{path}: the mask is missing", UNREADABLE_MASK) from error
    except FileFault:
        raise
    except TiffFault as error:
        raise FileFault(f"{path}: cannot be read as a mask ({error})", UNREADABLE_MASK) from error
    except DataError as error:  # a pipe or a device
        raise FileFault(str(error), UNREADABLE_MASK) from error
    except MemoryError as error:
        raise FileFault(
            f"{path}: not enough memory for this mask; cut images and masks into tiles", TOO_LARGE
        ) from error
    except PILLOW_FAULTS as error:
        reason = "it is not an image" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
        raise FileFault(f"{path}: cannot be read as a mask ({reason})", UNREADABLE_MASK) from error


def number_text(value: float) -> str:
    """Format a value for messages and for the command line."""
    return str(int(value)) if float(value).is_integer() and abs(value) < _EXACT else f"{value:.8g}"


def _numpy_array(content: bytes) -> np.ndarray:
    array = np.load(io.BytesIO(content), allow_pickle=False)  # pickles could run code
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise ValueError("it holds no numbers")
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or not array.size:
        raise ValueError(f"it is of shape {array.shape}, not height and width")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _of_array(
    values: np.ndarray,
    path: Path,
    ignored: Iterable[float],
    kept: Iterable[int],
    stored: str,
    nodata: float | None = None,
    *,
    alpha: bool = False,
) -> MaskFile:
    """Make a `MaskFile` from an array (H, W, bands)."""
    bands = values.shape[2]
    opaque = not alpha or (values[..., -1] == _largest(values.dtype)).all()
    one = values[..., 0] if bands == 1 or (bands == 2 and alpha and opaque) else None
    if one is None and bands in (3, 4) and opaque and _are_equal(values):
        one = values[..., 0]
    if one is not None:
        whole, nothing, counts = _whole(one, path, ignored, kept, nodata)
        return MaskFile(whole, nothing=nothing, ignored=counts, is_either=bands > 2, stored=stored)
    if bands not in (3, 4):
        raise FileFault(f"{path}: a mask has one channel, or the three of a color, but this is {stored}", MASK_CHANNELS)
    return MaskFile(None, _eight_bits(values[..., :3], path, stored), stored=stored)


def _of_pillow(
    content: bytes, path: Path, ignored: Iterable[float], kept: Iterable[int], facts: TiffFacts | None
) -> MaskFile:
    with open_picture(io.BytesIO(content)) as picture:
        require_room(path, picture.height, picture.width, 6)
        frames = 1 if picture.format in ("JPEG", "MPO", "TIFF") else getattr(picture, "n_frames", 1)
        if frames > 1:
            raise FileFault(_pages_text(path, frames), UNREADABLE_MASK)
        raw, arguments = _raw_mode(picture)
        if raw.endswith(";16B") and picture.mode in ("RGB", "RGBA", "LA"):
            return _of_deep_png(content, path, ignored, kept, picture.mode)
        picture.load()
    lossy = picture.format in ("JPEG", "MPO") or (picture.format == "WEBP" and b"VP8L" not in content[:64])
    lossy = lossy or (facts is not None and facts.is_lossy)
    nodata = None if facts is None else facts.nodata
    stored = picture.mode
    if picture.mode == "P" and picture.format == "GIF":
        picture = picture.convert("RGB")  # GIF writers number colors arbitrarily
    values = _single_channel(picture, lossy)
    if values is None:
        return MaskFile(None, np.asarray(picture.convert("RGB")), is_lossy=lossy, stored=stored)
    if picture.mode == "L" and raw in _SPREAD:
        values = values // np.uint8(_SPREAD[raw])
    if picture.format == "PPM" and len(arguments) > 1 and isinstance(arguments[1], int):
        values = _unspread(values, arguments[1])
    whole, nothing, counts = _whole(values, path, ignored, kept, nodata)
    palette = None
    if picture.mode == "P":
        palette = np.zeros((256, 3), np.uint8)
        entries = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)[:256]
        palette[: len(entries)] = entries
    either = picture.mode in ("RGB", "RGBA")
    return MaskFile(whole, None, palette, nothing, counts, is_lossy=lossy, is_either=either, stored=stored)


def _single_channel(picture: Image.Image, lossy: bool) -> np.ndarray | None:
    """Values (H, W) of a gray or palette picture; None if it has colors or transparent pixels."""
    if picture.mode in ("1", "L", "P", "I", "I;16", "I;16L", "I;16B", "F"):
        values = np.asarray(picture)
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    if picture.mode not in ("RGB", "RGBA", "LA"):
        return None
    channels = np.asarray(picture)
    if picture.mode != "RGB" and (channels[..., -1] != 255).any():
        return None
    if picture.mode == "LA":
        return channels[..., 0]
    return channels[..., 1] if _are_equal(channels, _GRAY_TOLERANCE if lossy else 0) else None


def _are_equal(values: np.ndarray, tolerance: int = 0) -> bool:
    """Whether the first three channels are equal, up to a tolerance."""
    if not tolerance:
        return bool((values[..., 0] == values[..., 1]).all() and (values[..., 2] == values[..., 1]).all())
    red, green, blue = (values[..., index].astype(np.int16) for index in range(3))
    return max(np.abs(red - green).max(initial=0), np.abs(blue - green).max(initial=0)) <= tolerance


def _of_deep_png(content: bytes, path: Path, ignored: Iterable[float], kept: Iterable[int], mode: str) -> MaskFile:
    """Read a PNG with several 16-bit channels. Pillow would drop the lower 8 bits, which hold the indices."""
    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 3:
        raise ValueError("it is damaged")
    if values.shape[2] >= 3:
        values = values[..., [2, 1, 0, *range(3, values.shape[2])]]
    return _of_array(values, path, ignored, kept, f"{mode} of 16 bits", alpha=mode != "RGB")


def _whole(
    values: np.ndarray, path: Path, ignored: Iterable[float], kept: Iterable[int], nodata: float | None
) -> tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.bool_] | None, dict[str, int]]:
    """Convert values to integers; also return the pixels without data, and their counts by value."""
    values = values.astype(np.uint8) if values.dtype == np.bool_ else values
    floats = values.dtype.kind == "f"
    values = values.astype(np.float32) if values.dtype == np.float16 else values
    found = [("NaN", np.isnan(values))] if floats else []
    own = [nodata] if nodata is not None and np.isfinite(nodata) and nodata not in set(kept) else []
    found += [(number_text(value), _equal(values, value)) for value in dict.fromkeys([*ignored, *own])]
    counts = {text: int(np.count_nonzero(where)) for text, where in found if where is not None}
    counts = {text: count for text, count in counts.items() if count}
    nothing = None
    for text, where in found:
        if text in counts and where is not None:
            nothing = where if nothing is None else nothing | where
    if nothing is not None:
        values = np.where(nothing, values.dtype.type(0), values)
    if not floats:
        return values, nothing, counts
    odd = values != np.rint(values)
    if odd.any():
        raise FileFault(
            f"{path}: {np.count_nonzero(odd)} pixels hold fractions, such as {values[odd][0]:.7g}; masks hold whole"
            " numbers, so save classes, not probabilities",
            UNKNOWN_VALUE,
        )
    beyond = np.abs(values) > _EXACT
    if beyond.any():
        value = number_text(float(values[beyond][0]))
        raise FileFault(
            f"{path}: value {value} ({np.count_nonzero(beyond)} pixels) is not a class; if it means ignored, set"
            f" dataset.ignore_value={value}",
            UNKNOWN_VALUE,
            {f"value {value}": int(np.count_nonzero(beyond))},
        )
    return values.astype(np.int64), nothing, counts


def _equal(values: np.ndarray, value: float) -> npt.NDArray[np.bool_] | None:
    """Where the values equal `value`; None if their type cannot hold it."""
    if values.dtype.kind == "f":
        # The lowest float32, a common nodata value, is written with varying numbers of digits.
        return np.abs(values - value) <= 1e-3 * abs(value) if abs(value) > _EXACT else values == value
    limits = np.iinfo(values.dtype)
    return values == int(value) if float(value).is_integer() and limits.min <= value <= limits.max else None


def _eight_bits(colors: np.ndarray, path: Path, stored: str) -> UInt8Array:
    if colors.dtype == np.uint8:
        return np.ascontiguousarray(colors)
    if colors.dtype == np.uint16 and not (colors % 257).any():
        return (colors // 257).astype(np.uint8)
    raise FileFault(f"{path}: the colors of a mask have 8 bits a channel, but this is {stored}", MASK_CHANNELS)


def _raw_mode(picture: Image.Image) -> tuple[str, tuple[Any, ...]]:
    """Pillow's raw mode for a file, and all arguments of its decoder."""
    tiles = getattr(picture, "tile", None) or [("", (0, 0), 0, "")]
    arguments = tiles[0][3]
    arguments = arguments if isinstance(arguments, tuple) else (arguments,)
    return (arguments[0] if arguments and isinstance(arguments[0], str) else ""), arguments


def _unspread(values: np.ndarray, largest: int) -> np.ndarray:
    """Undo Pillow's rescaling of a PGM whose maximum is not that of its type."""
    top = 255 if largest < 256 else 65535
    return values if largest == top else np.rint(values * (largest / top)).astype(np.uint16)


def _largest(dtype: np.dtype[Any]) -> float:
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def _stored(facts: TiffFacts) -> str:
    return f"a TIFF of {facts.bands} bands of {facts.dtype}"


def _pages_text(path: Path, count: int) -> str:
    return f"{path}: holds {count} pages or frames, but a mask has one; save the right one as its own file"
