"""Encoding predictions as files."""

import io

import cv2
import numpy as np
from PIL import Image

from dmtc.core.types import UInt8Array
from dmtc.data.georeference import Georeference, geotiff
from dmtc.prediction.arrays import Prediction

_JPEG_QUALITY = 95


def png(array: UInt8Array) -> bytes:
    """A gray PNG of uint8 (H, W)."""
    return _encoded(".png", array)


def rgb_png(image: UInt8Array) -> bytes:
    """A PNG of uint8 (H, W, 3), RGB."""
    return _encoded(".png", image[..., ::-1])


def palette_png(label: UInt8Array, palette: UInt8Array) -> bytes:
    """A PNG of indices uint8 (H, W) with a palette of colors uint8 (N, 3), N at most 256."""
    picture = Image.fromarray(label)
    picture.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def as_geotiff(content: bytes, georeference: Georeference) -> bytes:
    """A PNG of `png` or `palette_png` as a GeoTIFF with the same values and palette."""
    with Image.open(io.BytesIO(content)) as picture:
        colors = picture.getpalette() if picture.mode == "P" else None
        palette = None if colors is None else np.array(colors, np.uint8).reshape(-1, 3)
        return geotiff(np.asarray(picture), palette, georeference)


def jpeg(picture: UInt8Array) -> bytes:
    """A JPEG of uint8 (H, W, 3), RGB."""
    return _encoded(".jpg", picture[..., ::-1], cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)


def overlay(image: UInt8Array, label: UInt8Array, palette: UInt8Array, opacity: float) -> UInt8Array:
    """Blend an image uint8 (H, W, 3) with the colors uint8 (256, 3) of its classes; opacity 1 hides the image."""
    return np.asarray(cv2.addWeighted(palette[label], opacity, image, 1 - opacity, 0), np.uint8)


def confidence_png(prediction: Prediction) -> bytes:
    """A gray PNG of 255 times the confidence, rounded."""
    return png(np.round(prediction.confidence * 255).astype(np.uint8))


def probabilities_npz(prediction: Prediction) -> bytes:
    """A compressed NumPy archive with `probabilities`, float16 (C, H, W)."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, probabilities=prediction.probabilities.astype(np.float16))
    return buffer.getvalue()


def _encoded(suffix: str, array: UInt8Array, *options: int) -> bytes:
    done, encoded = cv2.imencode(suffix, np.ascontiguousarray(array), options)
    assert done, f"OpenCV cannot write {suffix}"
    return encoded.tobytes()
