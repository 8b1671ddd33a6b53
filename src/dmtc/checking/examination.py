"""Examining an image and its mask: what would stop training, what is unusual, and the mask's classes."""

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from dmtc.core.errors import UserError
from dmtc.core.types import IGNORE_INDEX, UInt8Array
from dmtc.data import Dataset
from dmtc.data.dataset import size_text
from dmtc.data.faults import OTHER_SIZE, FileFault
from dmtc.data.images import read_bytes, value_span
from dmtc.data.opening import ORIENTATION, PILLOW_FAULTS, open_picture
from dmtc.data.sizes import image_file
from dmtc.data.tiff import TiffFacts, TiffFault, facts_of_tiff, is_tiff, read_tiff

Role = Literal["labelled", "unlabelled", "validation", "test", "unused"]

NO_VALID_PIXEL = "mask without valid pixels"
FIRST_CLASS_ALONE = "mask with only the first class"
GRAY = "gray image"
ALPHA = "image with transparency"
DEEP = "16-bit image"
SIGNED = "image with signed values"
WIDE = "image with floating-point or 32-bit values"
BANDS = "image with more than three bands"
PAGES = "image with several pages or frames"
CMYK = "CMYK image"
TURNED = "image with an orientation tag"
DARK = "nearly black image"

_BITS_PER_SAMPLE = 258  # a tag of TIFF
_DARK = 24  # of 255; images with 12 bits stored as 16 are darker


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding about one file.

    Attributes:
        kind: Groups findings.
        text: The message on one line, or only the file if the kind says it all.
        role: The use of the image.
        stops: Whether it would stop training.
        counts: Number of pixels by unknown mask value or color.
    """

    kind: str
    text: str
    role: Role
    stops: bool
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Examined:
    """The result of examining an image.

    Attributes:
        id: Its id.
        role: Its use.
        findings: Findings in the order of discovery.
        shape: Height and width as in training; None if unreadable.
        pixels: Number of pixels of each value in the mask; None without a readable mask.
        digest: Hash of the file's bytes; None if unreadable.
        span: Smallest and largest value of an image that is signed or not 8-bit; None for others.
    """

    id: str
    role: Role
    findings: tuple[Finding, ...]
    shape: tuple[int, int] | None
    pixels: Mapping[int, int] | None
    digest: bytes | None
    span: tuple[float, float] | None = None


def examine(dataset: Dataset, id: str, role: Role) -> Examined:
    """Read an image and its mask, if it has one, as in training.

    Masks of images that are not labelled are also read, but cannot stop training, which never opens them.
    """
    findings: list[Finding] = []
    shape = pixels = digest = span = None
    path, divisor = image_file(dataset, id)
    needed = role != "unused"
    try:
        content = read_bytes(path)
        digest = hashlib.blake2b(content, digest_size=16).digest()
        findings += [Finding(kind, str(path), role, stops=False) for kind in _oddities(content)]
        span = _span(content)
        image = dataset.reader.decode(content, path)
        shape = (image.shape[0] // divisor, image.shape[1] // divisor)
        if image.max() < _DARK:
            findings.append(Finding(DARK, str(path), role, stops=False))
    except UserError as error:
        findings.append(_finding(error, role, needed))
    if id in dataset.masks:
        scored = role in ("labelled", "validation", "test")
        try:
            mask = dataset.mask(id)
            _require_shape(dataset, id, path, shape, mask)
            counts = np.bincount(mask.ravel(), minlength=256)
            pixels = {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
            kind = _poor(counts) if scored else None
            if kind is not None:
                findings.append(Finding(kind, str(dataset.masks[id]), role, stops=False))
        except UserError as error:
            findings.append(_finding(error, role, scored))
    return Examined(id, role, tuple(findings), shape, pixels, digest, span)


def _finding(error: UserError, role: Role, stops: bool) -> Finding:
    kind = error.kind if isinstance(error, FileFault) and error.kind else "other error"
    counts = error.counts if isinstance(error, FileFault) else {}
    return Finding(kind, str(error), role, stops, counts)


def _require_shape(dataset: Dataset, id: str, path: Path, shape: tuple[int, int] | None, mask: UInt8Array) -> None:
    if shape is not None and shape != mask.shape:
        raise FileFault(
            f"{path} is {size_text(shape)} pixels but its mask {dataset.masks[id]} is {size_text(mask.shape)};"
            " both must be the same size",
            OTHER_SIZE,
        )


def _poor(counts: npt.NDArray[np.int64]) -> str | None:
    """The kind of a mask with little to learn from; None for others."""
    valid = counts[:IGNORE_INDEX].sum()
    if valid == 0:
        return NO_VALID_PIXEL
    return FIRST_CLASS_ALONE if counts[0] == valid else None


def _oddities(content: bytes) -> Iterator[str]:
    """Unusual properties in the file's header, without decoding."""
    try:
        if is_tiff(content) and (facts := facts_of_tiff(content)).is_plain:
            yield from _oddities_of_tiff(facts)
            return
        with open_picture(io.BytesIO(content)) as picture:
            mode, info, exif = picture.mode, picture.info, picture.getexif()
            deep = exif.get(_BITS_PER_SAMPLE) if picture.format == "TIFF" else None
            frames = 1 if picture.format in ("JPEG", "MPO") else getattr(picture, "n_frames", 1)
    except PILLOW_FAULTS:
        return  # reported when decoding fails
    if frames > 1:
        yield PAGES
    png_depth = content[24] if content[:4] == b"\x89PNG" else 8
    if mode in ("1", "L", "LA") or mode.startswith("I"):
        yield GRAY
    if mode in ("RGBA", "LA", "PA") or "transparency" in info:
        yield ALPHA
    if mode.startswith("I") or png_depth == 16 or (deep is not None and 16 in np.atleast_1d(deep)):
        yield DEEP
    if mode == "CMYK":
        yield CMYK
    if exif.get(ORIENTATION, 1) not in (0, 1):
        yield TURNED


def _oddities_of_tiff(facts: TiffFacts) -> Iterator[str]:
    assert facts.dtype is not None
    bands = facts.bands - facts.has_alpha
    if bands == 1:
        yield GRAY
    if facts.has_alpha:
        yield ALPHA
    if bands > 3:
        yield BANDS
    if facts.dtype == np.uint16:
        yield DEEP
    if facts.dtype.kind == "i":
        yield SIGNED
    elif facts.dtype.kind == "f" or facts.dtype.itemsize > 2:
        yield WIDE
    if facts.pages > 1:
        yield PAGES
    if facts.orientation not in (0, 1):
        yield TURNED


def _span(content: bytes) -> tuple[float, float] | None:
    """The smallest and largest value of an image that is signed or has more than 8 bits."""
    try:
        if not is_tiff(content):
            return None
        facts = facts_of_tiff(content)
        if not facts.is_plain or facts.dtype is None or facts.dtype == np.uint8:
            return None
        values = read_tiff(content, facts)
        return value_span(values[..., : facts.bands - facts.has_alpha], facts.nodata)
    except (TiffFault, MemoryError):
        return None
