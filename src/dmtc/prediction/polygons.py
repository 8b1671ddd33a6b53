"""Outlines of regions as polygons along the edges of pixels, which cover exactly the pixels of the region."""

from collections import defaultdict
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from dmtc.core.types import UInt8Array

Point = tuple[int, int]
"""Column and row of a corner of pixels."""


def polygons_of(region: npt.NDArray[np.bool_]) -> Iterator[tuple[list[Point], int]]:
    """Polygons without holes that cover a region together, each with its number of pixels.

    Pixels that touch at a corner alone are apart. A part with a hole is cut in two at the hole, as polygons of COCO
    have none.

    Args:
        region: bool (H, W).

    Examples:
        >>> list(polygons_of(np.array([[False, True, True]])))
        [([(1, 0), (3, 0), (3, 1), (1, 1)], 2)]
    """
    waiting = [(np.asarray(region, np.uint8), 0, 0)]
    while waiting:
        mask, top, left = waiting.pop()
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        for number in range(1, count):
            x, y, width, height, area = (int(value) for value in stats[number])
            part = np.asarray(labels[y : y + height, x : x + width] == number, np.uint8)
            outer, *holes = _loops(part)
            if not holes:
                yield [(left + x + column, top + y + row) for column, row in outer], area
                continue
            middle = sorted(holes, key=min)[len(holes) // 2]
            columns = [column for column, _ in middle]
            cut = (min(columns) + max(columns)) // 2
            waiting += [(part[:, :cut].copy(), top + y, left + x), (part[:, cut:].copy(), top + y, left + x + cut)]


def _loops(part: UInt8Array) -> list[list[Point]]:
    """Closed outlines of a part whose pixels are connected by edges, the outer one first, as corners without others."""
    edges = _edges(part)
    loops: list[list[Point]] = []
    # The first corner in reading order lies on the outer outline.
    for start in sorted(edges, key=lambda corner: (corner[1], corner[0])):
        if start not in edges:
            continue
        at, heading = start, (1, 0)
        corners: list[Point] = []
        while at in edges:
            # Where two pixels touch at a corner, the outline turns back to its own: clockwise, to the right first.
            turns = [(-heading[1], heading[0]), heading, (heading[1], -heading[0])]
            turned = next((turn for turn in turns if turn in edges[at]), edges[at][0])
            edges[at].remove(turned)
            if not edges[at]:
                del edges[at]
            if turned != heading or not corners:
                corners.append(at)
            heading, at = turned, (at[0] + turned[0], at[1] + turned[1])
            if at == start:
                break
        loops.append(corners)
    return loops


def _edges(part: UInt8Array) -> dict[Point, list[Point]]:
    """Directions of the edges that leave each corner; the part is to their right."""
    padded = np.pad(part.astype(bool), 1)
    inside = padded[1:-1, 1:-1]
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),  # above: to the right along the top
        (padded[1:-1, 2:], (1, 0), (0, 1)),  # right: down
        (padded[2:, 1:-1], (1, 1), (-1, 0)),  # below: to the left
        (padded[1:-1, :-2], (0, 1), (0, -1)),  # left: up
    )
    edges: dict[Point, list[Point]] = defaultdict(list)
    for neighbor, (right, down), heading in sides:
        for row, column in np.argwhere(inside & ~neighbor).tolist():
            edges[column + right, row + down].append(heading)
    return edges
