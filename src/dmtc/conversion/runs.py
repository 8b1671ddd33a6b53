"""Run-length codes of masks: COCO's, CVAT's and Label Studio's, checked before they are expanded."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dmtc.core.errors import DataError
from dmtc.core.types import UInt8Array

Int64Array = npt.NDArray[np.int64]


def run_lengths(counts: object) -> Int64Array:
    """Lengths of alternating runs, the first of zeros, from a list of numbers.

    Raises:
        DataError: It is no list of whole numbers of 0 or more.
    """
    if not isinstance(counts, Sequence) or not all(type(count) is int and 0 <= count < 1 << 32 for count in counts):
        raise DataError("a run-length code should be whole numbers of 0 or more")
    return np.array(counts, np.int64)


def coco_run_lengths(text: str) -> Int64Array:
    """Lengths of runs from COCO's compressed code: 5 bits and a continuation bit a letter, from the third run on
    differences to the one before the last.

    Raises:
        DataError: The code is malformed.

    Examples:
        >>> coco_run_lengths("5274").tolist()
        [5, 2, 7, 6]
    """  # noqa: D205
    lengths: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > 35:
            raise DataError("a compressed run-length code is malformed")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise DataError("a compressed run-length code is cut off")
    return run_lengths(lengths)


def expand(lengths: Int64Array, height: int, width: int, column_major: bool) -> npt.NDArray[np.bool_]:
    """Expand runs to a region (H, W).

    Raises:
        DataError: The runs are of another number of pixels.
    """
    if int(lengths.sum()) != height * width:
        raise DataError(f"a run-length code is of {int(lengths.sum())} pixels, but should be of {width}x{height}")
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(width, height).T if column_major else flat.reshape(height, width)


def brush_region(code: UInt8Array, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Expand Label Studio's code of a brush, which holds RGBA pixels, to the region (H, W) that is not transparent.

    The code is a stream of bits: 32 for the number of values, 5 for the bits of a value, four times 4 for the sizes of
    lengths, then blocks of one flag, two bits that choose the size, a length, and one value to repeat or that many.

    Raises:
        DataError: The code is cut off, or of another number of pixels.
    """
    bits = np.unpackbits(code)
    place = 0

    def number(size: int) -> int:
        nonlocal place
        if place + size > len(bits):
            raise DataError("a brush's code is cut off")
        value = int("".join(map(str, bits[place : place + size])), 2)
        place += size
        return value

    count, word = number(32), number(5) + 1
    sizes = [number(4) + 1 for _ in range(4)]
    if count != 4 * height * width:
        raise DataError(f"a brush's code is of {count / 4:g} pixels, but should be of {width}x{height}")
    if word != 8:
        raise DataError(f"a brush's code has values of {word} bits; only 8 are read")
    values = np.empty(count, np.uint8)
    done = 0
    while done < count:
        repeated = number(1)
        length = 1 + number(sizes[number(2)])
        if done + length > count:
            raise DataError("a brush's code holds more pixels than it says")
        if repeated:
            values[done : done + length] = number(word)
        else:
            end = place + word * length
            if end > len(bits):
                raise DataError("a brush's code is cut off")
            values[done : done + length] = np.packbits(bits[place:end].reshape(length, word), axis=1)[:, 0]
            place = end
        done += length
    return values.reshape(height, width, 4)[..., 3] > 0


def numbers_of(text: str) -> list[int]:
    """Whole numbers from text with commas, as in CVAT's files."""
    return [int(part) for part in text.split(",") if part.strip()]
