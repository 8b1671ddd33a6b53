"""The classes of converted masks: order, indices and colors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dmtc.conversion.labels import BACKGROUND, IGNORED, Labels
from dmtc.core.errors import DataError
from dmtc.core.types import IGNORE_INDEX, UInt8Array
from dmtc.data.folder.class_lists import class_list_yaml
from dmtc.data.masks import distinct_colors

Rest = Literal["background", "ignore"]


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of the masks.

    Attributes:
        names: Class names in index order.
        palette: uint8 (256, 3): the color of each value; white where ignored.
        values: The value of each name that layers paint with.
        rest: The value of pixels that nobody painted.
    """

    names: tuple[str, ...]
    palette: UInt8Array
    values: Mapping[str, int]
    rest: int

    @classmethod
    def of(cls, labels: Labels, rest: Rest) -> "Classes":
        """Order the classes of an export; a background comes first.

        Args:
            labels: The export.
            rest: What pixels are that nobody painted: "background", or "ignore", which leaves the background out unless
                it was painted itself.

        Raises:
            DataError: There is no class, or too many for one byte a pixel.
        """
        has_background = rest == "background" or labels.has_background
        names = ([BACKGROUND] if has_background else []) + list(labels.classes)
        if not labels.classes:
            raise DataError("the export names no class")
        if len(names) > IGNORE_INDEX:
            raise DataError(f"the export has {len(names)} classes; masks hold {IGNORE_INDEX} at most")
        values = {name: value for value, name in enumerate(names)} | {IGNORED: IGNORE_INDEX}
        values.setdefault(BACKGROUND, IGNORE_INDEX)
        palette = np.full((256, 3), 255, np.uint8)
        palette[: len(names)] = _colors(names, {BACKGROUND: labels.background or [0, 0, 0], **labels.classes})
        return cls(tuple(names), palette, values, 0 if rest == "background" else IGNORE_INDEX)

    def to_yaml(self) -> str:
        """The content of `classes.yaml`."""
        return class_list_yaml(self.names, self.palette[: len(self.names)].tolist())


def _colors(names: list[str], given: Mapping[str, list[int] | None]) -> UInt8Array:
    """Colors of the export where they are distinct, others for the rest."""
    taken: list[list[int]] = [[255, 255, 255]]  # of ignored pixels
    spare = iter(distinct_colors(4 * len(names) + 8).tolist())
    colors = []
    for name in names:
        color = given.get(name)
        if color is None or color in taken:
            others = [one for one in given.values() if one is not None]
            color = next(one for one in spare if one not in taken and one not in others)
        taken.append(color)
        colors.append(color)
    return np.array(colors, np.uint8)
