"""Lossless compression of one image's prediction: small, and fast to decode, as every training crop reads one.

A network's logits are interpolated from a coarse map, so between its cells the confidence level is nearly a + bx + cy +
dxy. Its second difference, first down and then right, is small and nearly constant: two or three bits per pixel.
"""

import struct
import sys

import cv2
import numpy as np

from dmtc.core.levels import LEVELS, Levels
from dmtc.core.types import UInt8Array

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_SIZE = struct.Struct("<2I")
# Makes every difference positive (each combines four 12-bit levels), and the upper byte of nearly all of them 64.
_BIAS = 64 * 256 + 128
# Higher levels of zstd save a tenth of the bytes for five times the work. The checksum detects damage.
_OPTIONS: dict[int, int] = {zstd.CompressionParameter.compression_level: 3, zstd.CompressionParameter.checksum_flag: 1}


def encode(label: UInt8Array, level: Levels) -> bytes:
    """Encode a prediction as one zstd frame: height and width, then label, upper and lower bytes of the differences.

    Args:
        label: uint8 (H, W).
        level: uint16 (H, W), below `LEVELS`.
    """
    zero = np.uint16(0)
    difference = np.diff(np.diff(level, axis=0, prepend=zero), axis=1, prepend=zero) + np.uint16(_BIAS)
    planes = np.stack([label, (difference >> 8).astype(np.uint8), difference.astype(np.uint8)])
    return zstd.compress(_SIZE.pack(*label.shape) + planes.tobytes(), options=_OPTIONS)


def decode(content: bytes) -> tuple[UInt8Array, Levels]:
    """Inverse of `encode`; the label may be read-only.

    Raises:
        ValueError: The bytes are damaged, or not from `encode`.
    """
    try:
        raw = zstd.decompress(content)
        height, width = _SIZE.unpack_from(raw)
        label, upper, lower = np.frombuffer(raw, np.uint8, offset=_SIZE.size).reshape(3, height, width)
    except (zstd.ZstdError, struct.error) as error:
        raise ValueError(str(error)) from error
    # OpenCV sums only bytes and floats; float32 holds these integers exactly.
    difference = cv2.addWeighted(upper, 256, lower, 1, -_BIAS, dtype=cv2.CV_32F)
    level = cv2.integral(difference, sdepth=cv2.CV_32F)[1:, 1:].astype(np.uint16)
    if level.size == 0 or level.max() >= LEVELS:
        raise ValueError("it holds no prediction")
    return label, level
