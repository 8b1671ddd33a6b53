"""Separates class colors from mixtures that smoothing produced along edges.

A mask that was drawn with antialiasing, scaled with an interpolating filter, or once saved as JPEG has dozens of
colors, of which only a few are classes. A color counts as a mixture if it is hardly ever surrounded by itself, is rarer
than two other colors, and lies between these. A class, however rare, has some area of its own, and a class that is only
ever one pixel wide is a mixture of two others only by coincidence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

_INSIDE = 0.05  # minimum share of a class's pixels that are surrounded by equal ones
_INSIDE_OF_COPY = 0.3  # the same for colors very close to another one
_NEAR = 16  # levels by which JPEG may change a color
_OFF = 24  # maximum distance, in levels, of a mixture from the line between two colors
_WIDE = 200  # levels
_SHARE = 0.5  # maximum share of pixels, and minimum share of colors, that are mixtures
_LOOKED_AT = 4096  # rows and columns of a mask
_FEWEST = {False: 4, True: 6}  # minimum number of mixtures; more for gray, whose levels all lie on one line


@dataclass(frozen=True, slots=True)
class Areas:
    """How often values or colors occur, and how often all eight neighbors are the same.

    Attributes:
        looked: Number of pixels by value.
        inside: Number of those pixels that are surrounded by equal ones, by value.
    """

    looked: Mapping[int, int]
    inside: Mapping[int, int]


def areas_of(values: np.ndarray) -> Areas:
    """Count in one integer mask (H, W); in a huge one, only in the top left corner."""
    values = values[:_LOOKED_AT, :_LOOKED_AT]
    if min(values.shape) < 3:
        return Areas(_counts(values), {})
    rows = (values[:, :-2] == values[:, 1:-1]) & (values[:, 1:-1] == values[:, 2:])
    middle = values[:, 1:-1]
    same = rows[:-2] & rows[1:-1] & rows[2:] & (middle[:-2] == middle[1:-1]) & (middle[1:-1] == middle[2:])
    return Areas(_counts(values[1:-1, 1:-1]), _counts(middle[1:-1][same]))


def mixed_of(counts: Mapping[int, int], areas: Areas, gray: bool) -> list[int] | None:
    """The pure colors that the others are mixtures of, the most frequent first; None if there are no such mixtures.

    Args:
        counts: Number of pixels by color code (`color_codes`) or by gray value.
        areas: The areas counted in these masks.
        gray: Whether the keys are gray values.
    """
    codes = [code for code in sorted(counts, key=counts.__getitem__, reverse=True) if areas.looked.get(code)]
    points = {code: _point(code, gray) for code in codes}
    if not codes or np.ptp(list(points.values()), axis=0).max() < min(1.2 * len(codes), _WIDE):
        return None  # consecutive numbers
    inside = {code: areas.inside.get(code, 0) / areas.looked[code] for code in codes}
    solid: list[int] = []
    for code in codes:
        copies = inside[code] < _INSIDE_OF_COPY and any(
            counts[other] >= 10 * counts[code] and np.abs(points[code] - points[other]).max() <= _NEAR
            for other in solid
        )
        if inside[code] >= _INSIDE and not copies:
            solid.append(code)
    others = [code for code in codes if code not in set(solid)]
    mixtures = [code for code in others if _lies_between(code, solid, counts, points)]
    if (
        len(solid) < 2
        or len(mixtures) < _FEWEST[gray]
        or len(mixtures) <= (2 if gray else 1) * len(solid)
        or len(mixtures) < _SHARE * len(codes)
        or sum(counts[code] for code in mixtures) > _SHARE * sum(counts.values())
    ):
        return None
    return solid


def _lies_between(code: int, solid: Sequence[int], counts: Mapping[int, int], points: Mapping[int, np.ndarray]) -> bool:
    point = points[code]
    for one, other in combinations(solid, 2):
        if 2 * counts[code] > min(counts[one], counts[other]):
            continue
        line = points[other] - points[one]
        near = min(_OFF, np.linalg.norm(line) / 4)
        along = np.clip(np.dot(point - points[one], line) / max(np.dot(line, line), 1e-9), 0, 1)
        if np.linalg.norm(points[one] + along * line - point) <= near:
            return True
    return False


def _point(code: int, gray: bool) -> np.ndarray:
    return np.array([code] if gray else [code >> 16, code >> 8 & 255, code & 255], np.float64)


def _counts(values: np.ndarray) -> dict[int, int]:
    found, counts = np.unique(values, return_counts=True)
    return {int(value): int(count) for value, count in zip(found, counts, strict=True)}
