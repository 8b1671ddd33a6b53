"""Where a GeoTIFF lies on the map: its tags, read from one file and written with the masks of that image."""

import io
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmtc.core.errors import DataError
from dmtc.core.files import open_regular
from dmtc.core.types import UInt8Array
from dmtc.data.tiff import TiffFault, is_tiff, opened_tiff

TAGS = (33550, 33922, 34264, 34735, 34736, 34737)
"""Pixel scale, tie points, transformation, and the three tags of the coordinate system."""

ORIENTATION = 274

_PLACES = (33922, 34264)
"""At least one of these says where the pixels are; a coordinate system alone does not."""


@dataclass(frozen=True, slots=True)
class Georeference:
    """Tags of a GeoTIFF, as they are stored.

    Attributes:
        tags: Code, type, count and value of each.
    """

    tags: tuple[tuple[int, int, int, Any], ...]


def georeference_of(path: Path) -> Georeference | None:
    """The georeference of an image file; None if it has none, is no TIFF, or cannot be read. No pixels are read."""
    try:
        with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if not is_tiff(content):
                return None
            with opened_tiff(content) as tiff:
                page = tiff.pages.first
                if page.tags.valueof(ORIENTATION, 1) not in (0, 1):
                    return None  # whether the map is of the pixels as stored or as shown, no standard says
                tags = [tag for tag in page.tags if tag.code in TAGS]
                found = tuple((tag.code, int(tag.dtype), tag.count, tag.value) for tag in tags)
    except (DataError, OSError, ValueError, IndexError, TiffFault):
        return None
    return Georeference(found) if any(code in _PLACES for code, *_ in found) else None


def geotiff(mask: UInt8Array, palette: UInt8Array | None, georeference: Georeference) -> bytes:
    """A mask as a GeoTIFF, compressed without loss.

    Args:
        mask: uint8 (H, W).
        palette: uint8 (N, 3), N at most 256, the RGB color of each value; None for gray.
        georeference: Of the image.
    """
    from tifffile import imwrite  # slow to import, and most predictions have no georeference

    colors: dict[str, Any] = {"photometric": "minisblack"}
    if palette is not None:
        table = np.zeros((3, 256), np.uint16)
        table[:, : len(palette)] = palette.T.astype(np.uint16) * 257
        colors = {"photometric": "palette", "colormap": table}
    buffer = io.BytesIO()
    tags = [(*tag, True) for tag in georeference.tags]
    imwrite(buffer, mask, compression="zlib", metadata=None, extratags=tags, **colors)
    return buffer.getvalue()
