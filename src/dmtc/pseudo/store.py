"""The pseudo-label store: one teacher's predictions for every pixel of every unlabelled image, on disk.

Per image two lossless PNG files (predicted class, confidence level), per teacher one histogram. Which pixels become
pseudo-labels is decided when they are read, so one pass of the teacher serves every label ratio.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dmtc.errors import DataError
from dmtc.files import write_atomically, write_json
from dmtc.pseudo.selection import Levels, level_confidence, threshold_levels
from dmtc.types import IGNORE_INDEX, Float32Array, UInt8Array

_CONFIDENCE = level_confidence()
_DONE = "store.json"


@dataclass(frozen=True, slots=True)
class PseudoLabel:
    """The pseudo-label of one image.

    Attributes:
        id: The image's name.
        image: uint8 (H, W, 3), RGB.
        label: uint8 (H, W), predicted class, or 255 where the teacher was not sure enough.
        confidence: float32 (H, W) in [0, 1], the teacher's probability of its prediction, kept or not.
        truth: uint8 (H, W), or None where it is not known.
    """

    id: str
    image: UInt8Array
    label: UInt8Array
    confidence: Float32Array
    truth: UInt8Array | None


@dataclass(frozen=True, slots=True)
class PseudoLabels:
    """A store read at one label ratio; small enough to travel to the loader's processes.

    Attributes:
        folder: The store's folder.
        thresholds: Lowest level kept, per class.
    """

    folder: Path
    thresholds: tuple[int, ...]

    def read(self, id: str) -> tuple[UInt8Array, Float32Array]:
        """Label (H, W) uint8 with 255 where not selected, and confidence (H, W) float32."""
        label, level = PseudoLabelStore(self.folder).read(id)
        lowest = np.full(256, np.iinfo(np.uint16).max, np.uint16)
        lowest[: len(self.thresholds)] = self.thresholds
        return np.where(level >= lowest[label], label, np.uint8(IGNORE_INDEX)), _CONFIDENCE[level]


class PseudoLabelStore:
    """The folder of one teacher's predictions.

    Args:
        folder: Where the files lie; it need not exist yet.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def write(self, id: str, label: UInt8Array, level: Levels) -> None:
        """Save one image's prediction; label uint8 (H, W), level uint16 (H, W)."""
        for suffix, array in (("label", label), ("level", level)):
            # Level 1 costs a third of the time of OpenCV's default for a few percent of the size.
            coded, data = cv2.imencode(".png", array, [cv2.IMWRITE_PNG_COMPRESSION, 1])
            assert coded
            write_atomically(self._path(id, suffix), data.tobytes())

    def read(self, id: str) -> tuple[UInt8Array, Levels]:
        """Predicted class uint8 (H, W) and confidence level uint16 (H, W).

        Raises:
            DataError: The file is missing or unreadable.
        """
        label, level = (_read_png(self._path(id, suffix)) for suffix in ("label", "level"))
        return label, level

    def finish(self, histogram: npt.NDArray[np.int64], **facts: float) -> None:
        """Write the histogram and mark the store complete."""
        # Plain .npy of integers: read back without pickle.
        with open(self.folder / "histogram.npy.part", "wb") as file:
            np.save(file, histogram)
        os.replace(self.folder / "histogram.npy.part", self.folder / "histogram.npy")
        write_json(self.folder / _DONE, facts)

    def is_complete(self) -> bool:
        """Whether every image was written."""
        return (self.folder / _DONE).is_file()

    def facts(self) -> dict[str, float]:
        """What `finish` was told: images, seconds, bytes."""
        return json.loads((self.folder / _DONE).read_text())

    def histogram(self) -> npt.NDArray[np.int64]:
        """Pixels per class and level, int64 (C, LEVELS)."""
        return np.load(self.folder / "histogram.npy", allow_pickle=False)

    def select(self, label_ratio: float) -> PseudoLabels:
        """The pseudo-labels at a label ratio in (0, 1]."""
        return PseudoLabels(self.folder, tuple(threshold_levels(self.histogram(), label_ratio).tolist()))

    def size_bytes(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def _path(self, id: str, suffix: str) -> Path:
        # Ids may hold slashes; a flat, readable and collision-free file name never leaves the store's folder.
        readable = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in id)[:80]
        return self.folder / f"{readable}-{hashlib.sha256(id.encode()).hexdigest()[:8]}.{suffix}.png"


def _read_png(path: Path) -> npt.NDArray[Any]:
    try:
        array = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error):
        array = None
    if array is None:
        raise DataError(f"pseudo-label file {path} is missing or damaged; delete its folder and resume to label again")
    return array
