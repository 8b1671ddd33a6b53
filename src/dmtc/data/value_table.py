"""Reads masks whose values mean classes by a fixed table, such as the official masks of ADE20K and COCO-Stuff."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmtc.core.types import UInt8Array
from dmtc.data.faults import UNKNOWN_VALUE, FileFault
from dmtc.data.masks import IndexMasks

_UNKNOWN = -1


@dataclass(frozen=True, kw_only=True)
class TableMasks:
    """Reads single-channel masks by a table in which several values may mean one class.

    Attributes:
        table: Class index, or `IGNORE_INDEX`, of each value in 0..255 that a mask may hold.
        remedy: What other values mean, and what to do about them, for the message.
    """

    table: Mapping[int, int]
    remedy: str

    def __call__(self, path: Path) -> UInt8Array:
        """Read one file into uint8 (H, W).

        Raises:
            FileFault: The file is missing or unreadable, has several channels, or holds a value that is not in the
                table.
        """
        whole = np.full(256, _UNKNOWN, np.int16)
        whole[list(self.table)] = list(self.table.values())
        mask = IndexMasks()(path)
        label = whole[mask]
        if (label == _UNKNOWN).any():
            values, counts = np.unique(mask[label == _UNKNOWN], return_counts=True)
            pixels = {f"value {value}": int(count) for value, count in zip(values, counts, strict=True)}
            raise FileFault(
                f"{path}: value {values[0]} ({counts[0]} pixels) belongs to no class; {self.remedy}",
                UNKNOWN_VALUE,
                pixels,
            )
        return label.astype(np.uint8)
