"""Draws one synthetic scene.

A class is a combination of shape and texture. Color helps but does not decide: a class tends toward a hue, but some of
its objects have any hue, and objects vary in size, proportion, rotation, texture period, contrast and light. So a few
labelled images show only part of what a class can look like, which makes more images worthwhile. Untextured objects of
the same shapes, in any color, belong to the background.
"""

from collections.abc import Callable

import cv2
import numpy as np

from dmtc.core.types import IGNORE_INDEX, Float32Array, UInt8Array

CLASSES = {
    "background": (40, 40, 40),
    "zebra_disk": (230, 80, 60),
    "woven_block": (60, 140, 230),
    "checker_star": (240, 190, 40),
    "dotted_blob": (90, 190, 90),
    "ringed_band": (170, 90, 210),
    "parasol": (70, 205, 215),
}
"""Class names in index order, with the colors to draw masks in. The last one is rare and small."""

RARE_SHARE = 0.1
"""Share of images with the rare class."""

Shape = Callable[[np.random.Generator, float], np.ndarray]
Texture = Callable[[np.random.Generator, np.ndarray, np.ndarray, float], np.ndarray]


# Shapes: an outline (N, 2) around the origin, for a radius in pixels.


def _disk(rng: np.random.Generator, radius: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return radius * np.stack([np.cos(angle), rng.uniform(0.65, 1) * np.sin(angle)], 1)


def _block(rng: np.random.Generator, radius: float) -> np.ndarray:
    half = radius * np.array([1.0, rng.uniform(0.5, 1)]) * 0.85
    return half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])


def _star(rng: np.random.Generator, radius: float) -> np.ndarray:
    points = int(rng.integers(4, 8))
    angle = np.linspace(0, 2 * np.pi, 2 * points, endpoint=False)
    reach = np.where(np.arange(2 * points) % 2, rng.uniform(0.45, 0.65), 1.15) * radius
    return reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)


def _blob(rng: np.random.Generator, radius: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    waves = np.zeros_like(angle)
    for k in (2, 3, 5):
        waves += rng.uniform(0.05, 0.18) * np.sin(k * angle + rng.uniform(0, 2 * np.pi))
    return (radius * (1 + waves))[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)


def _band(rng: np.random.Generator, radius: float) -> np.ndarray:
    along = np.linspace(-1.6, 1.6, 24) * radius
    bend = rng.uniform(-0.5, 0.5) * radius * np.cos(along / radius)
    thickness = rng.uniform(0.18, 0.34) * radius
    upper = np.stack([along, bend - thickness], 1)
    return np.concatenate([upper, np.stack([along, bend + thickness], 1)[::-1]])


# Textures: a blend in [0, 1] between two colors, over coordinates x, y around the object's center, for a period in px.


def _zebra(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, period: float) -> np.ndarray:
    del y
    return _square(np.sin(2 * np.pi * x / period + rng.uniform(0, 6.28)), rng)


def _weave(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, period: float) -> np.ndarray:
    lines = np.maximum(np.cos(2 * np.pi * x / period), np.cos(2 * np.pi * y / period))
    return _square(lines - rng.uniform(0.3, 0.7), rng)


def _checker(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, period: float) -> np.ndarray:
    return _square(np.sin(2 * np.pi * x / period) * np.sin(2 * np.pi * y / period) * 2, rng)


def _dots(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, period: float) -> np.ndarray:
    waves = np.cos(2 * np.pi * x / period) + np.cos(2 * np.pi * y / period)
    return _square(rng.uniform(0.4, 0.9) - waves, rng)


def _rings(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, period: float) -> np.ndarray:
    return _square(np.sin(2 * np.pi * np.hypot(x, y) / period + rng.uniform(0, 6.28)), rng)


def _rays(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, period: float) -> np.ndarray:
    del period
    return _square(np.sin(int(rng.integers(4, 7)) * np.arctan2(y, x)), rng)


def _square(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sharpen a wave by a random amount, from soft to hard edges."""
    return np.clip(0.5 + rng.uniform(0.5, 3) * wave, 0, 1)


_LOOKS: list[tuple[Shape, Texture]] = [
    (_disk, _zebra),
    (_block, _weave),
    (_star, _checker),
    (_blob, _dots),
    (_band, _rings),
    (_disk, _rays),
]
"""The look of class 1, 2, ..."""

_FREQUENCY = np.array([0.28, 0.24, 0.18, 0.16, 0.14])
"""Relative frequency of each common class: the classes are imbalanced even without the rare one."""


def draw_scene(rng: np.random.Generator, size: int, *, rare: bool) -> tuple[UInt8Array, UInt8Array]:
    """Draw one image with its mask.

    Args:
        rng: The only source of randomness.
        size: Height and width in pixels.
        rare: Whether to draw the rare class: up to three objects, on top so that they stay visible.

    Returns:
        uint8 (size, size, 3), RGB, and uint8 (size, size) class indices, `IGNORE_INDEX` on thin lines.
    """
    image = _background(rng, size)
    label = np.zeros((size, size), np.uint8)
    objects = rng.choice(np.arange(1, 6), int(rng.integers(3, 8)), p=_FREQUENCY).tolist()
    plain = [0] * int(rng.integers(0, 2))
    on_top = [6] * int(rng.integers(2, 4)) if rare else []
    order = [*rng.permutation([*objects, *plain]).tolist(), *on_top]
    for index in order:
        _draw_object(rng, image, label, index)
    _draw_lines(rng, image, label)
    return _photograph(rng, image), label


def _background(rng: np.random.Generator, size: int) -> Float32Array:
    """Smooth color gradients plus grain of random coarseness."""
    coarse = rng.uniform(70, 180, (3, 3, 3)).astype(np.float32)
    image = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    cells = max(4, int(size / rng.uniform(1.5, 8)))
    grain = rng.normal(0, rng.uniform(2, 10), (cells, cells)).astype(np.float32)
    image += cv2.resize(grain, (size, size), interpolation=cv2.INTER_LINEAR)[..., None]
    return np.asarray(image, np.float32)


def _draw_object(rng: np.random.Generator, image: Float32Array, label: UInt8Array, index: int) -> None:
    """Draw an object of a class, or for index 0, a plain one that belongs to the background."""
    size = label.shape[0]
    shape, texture = _LOOKS[index - 1] if index else (_LOOKS[rng.integers(0, 5)][0], None)
    radius = size * (rng.uniform(0.11, 0.15) if index == 6 else rng.uniform(0.14, 0.27))
    center = rng.uniform(0.08 * size, 0.92 * size, 2)
    turn, grain = rng.uniform(0, 2 * np.pi, 2)
    outline = shape(rng, radius) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + center
    inside = np.zeros_like(label)
    cv2.fillPoly(inside, [np.round(outline).astype(np.int32)], (1,))

    first, second = _colors(rng, index)
    rows, columns = np.mgrid[:size, :size] - center[::-1, None, None]
    x, y = np.cos(grain) * columns + np.sin(grain) * rows, np.cos(grain) * rows - np.sin(grain) * columns
    if texture is None:
        blend = np.clip(0.5 + x / (4 * radius), 0, 1)  # a soft gradient across
    else:
        blend = texture(rng, x, y, size * rng.uniform(0.08, 0.15))
    paint = first + blend[..., None] * (second - first)
    chosen = inside == 1
    image[chosen] = paint[chosen]
    label[chosen] = index


def _colors(rng: np.random.Generator, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Two colors for an object. A class tends toward its own hue, but some of its objects have any hue."""
    hue = rng.uniform(0, 360) if index == 0 or rng.random() < 0.1 else rng.normal(60 * index, 14)
    value = rng.uniform(0.3, 0.95)
    contrast = rng.uniform(0.35, 0.55) * (1 if value < 0.6 else -1)
    hues = np.array([hue, hue + rng.normal(0, 20)]) % 360
    saturations = rng.uniform(0.4, 0.95, 2)
    if index == 6:
        saturations[1] *= 0.2  # alternating color and near-white, so that few examples can suffice
    pair = np.stack([hues, saturations, np.array([value, value + contrast])], 1).astype(np.float32)
    return tuple(cv2.cvtColor(pair[:, None], cv2.COLOR_HSV2RGB)[:, 0] * 255)


def _draw_lines(rng: np.random.Generator, image: Float32Array, label: UInt8Array) -> None:
    """Draw thin lines in front of everything; they are too thin to label, so their pixels are ignored."""
    size = label.shape[0]
    for _ in range(int(rng.integers(0, 4))):
        start, end = ((int(x), int(y)) for x, y in rng.integers(0, size, (2, 2)))
        color = tuple(rng.uniform(20, 235, 3).tolist())
        cv2.line(image, start, end, color, max(1, size // 96))
        cv2.line(label, start, end, IGNORE_INDEX, max(1, size // 96))


def _photograph(rng: np.random.Generator, image: Float32Array) -> UInt8Array:
    """Apply directional light, a tint, lens blur and sensor noise."""
    size = image.shape[0]
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    light = 1 + rng.uniform(0, 0.5) * (np.cos(angle) * columns + np.sin(angle) * rows)
    lit = image * (rng.uniform(0.6, 1.25) * light)[..., None] * rng.uniform(0.94, 1.06, 3)
    blurred = cv2.GaussianBlur(lit, (0, 0), rng.uniform(0.3, 0.7) * size / 96)
    return np.clip(np.round(blurred + rng.normal(0, rng.uniform(2, 6), image.shape)), 0, 255).astype(np.uint8)
