"""The pseudo-label store: a teacher's predictions for every pixel of every unlabelled image, on disk.

There is one file per image (predicted class and confidence level, see `compression`) and one histogram per teacher.
Pseudo-labels are selected when read, so one pass of the teacher serves every label ratio.
"""

import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dmtc.core.errors import DataError
from dmtc.core.files import is_temporary, read_regular, remove_empty, replacing, write_atomically, write_json
from dmtc.core.levels import LEVELS, Levels, level_confidence
from dmtc.core.types import Float32Array, UInt8Array
from dmtc.data.ids import file_name
from dmtc.pseudo.compression import decode, encode
from dmtc.pseudo.selection import threshold_confidences, threshold_levels

_CONFIDENCE = level_confidence()
_HISTOGRAM, _DONE, _SUFFIX = "histogram.npy", "store.json", ".zst"


@dataclass(frozen=True, slots=True)
class PseudoLabel:
    """The pseudo-label of one image.

    Attributes:
        id: The image's name.
        image: uint8 (H, W, 3), RGB.
        label: uint8 (H, W), predicted class, or 255 where the teacher's confidence is too low.
        confidence: float32 (H, W) in [0, 1], the teacher's probability of its prediction, also where label is 255.
        truth: uint8 (H, W), or None if unknown.
    """

    id: str
    image: UInt8Array
    label: UInt8Array
    confidence: Float32Array
    truth: UInt8Array | None


@dataclass(frozen=True, slots=True)
class PseudoLabels:
    """A store read at one label ratio; small enough to send to the loader's processes.

    Attributes:
        folder: The store's folder.
        thresholds: Lowest level kept of each class.
    """

    folder: Path
    thresholds: tuple[int, ...]

    @property
    def confidences(self) -> Float32Array:
        """The lowest confidence kept of each class: float32 (C,), 0 where all pixels are kept."""
        return threshold_confidences(np.array(self.thresholds))

    def read(self, id: str) -> tuple[UInt8Array, Float32Array]:
        """Label (H, W) uint8 with 255 where not selected, and confidence (H, W) float32."""
        label, level = self.read_all(id)
        return self.select(label, level), _CONFIDENCE.take(level)

    def read_all(self, id: str) -> tuple[UInt8Array, Levels]:
        """Label and level of every pixel, selected or not, as from `PseudoLabelStore.read`."""
        return PseudoLabelStore(self.folder).read(id)

    def select(self, label: UInt8Array, level: Levels) -> UInt8Array:
        """The labels, with 255 where not selected; works on any part of an image."""
        lowest = np.full(256, np.iinfo(np.uint16).max, np.uint16)
        lowest[: len(self.thresholds)] = self.thresholds
        # OpenCV is faster than NumPy here. Its comparison gives 255 where true, and 255 | label is 255.
        ignored = cv2.compare(level, cv2.LUT(label, lowest), cv2.CMP_LT)
        return np.asarray(cv2.bitwise_or(label, ignored), np.uint8)


class PseudoLabelStore:
    """The folder of one teacher's predictions.

    Args:
        folder: Folder of the files; it need not exist yet.

    Examples:
        Three pixels of class 3, of which the two most confident are kept at a label ratio of 0.5:

        >>> from tempfile import mkdtemp
        >>> store = PseudoLabelStore(mkdtemp())
        >>> label, level = np.array([[3, 3, 3]], np.uint8), np.array([[100, 900, 800]], np.uint16)
        >>> store.write("street", label, level)
        >>> store.finish(np.stack([np.bincount(level[label == c], minlength=LEVELS) for c in range(4)]))
        >>> store.select(0.5).read("street")[0]
        array([[255,   3,   3]], dtype=uint8)
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def write(self, id: str, label: UInt8Array, level: Levels) -> None:
        """Save one image's prediction; label uint8 (H, W), level uint16 (H, W)."""
        write_atomically(self._path(id), encode(label, level))

    def read(self, id: str) -> tuple[UInt8Array, Levels]:
        """Predicted class uint8 (H, W) and confidence level uint16 (H, W).

        Raises:
            DataError: The file is missing, unreadable, or not a prediction.
        """
        path = self._path(id)
        try:
            return decode(read_regular(path))
        except (OSError, ValueError, DataError) as error:
            raise DataError(_damaged(path)) from error

    def adopt(self, other: "PseudoLabelStore") -> None:
        """Copy all predictions of another store, unless this one has its own of the same image."""
        for path in other.files():
            if not (own := self.folder / path.name).exists():
                write_atomically(own, read_regular(path))

    def __contains__(self, id: object) -> bool:
        """Whether there is a prediction for an image."""
        return isinstance(id, str) and self._path(id).is_file()

    def finish(self, histogram: npt.NDArray[np.int64], **facts: float | str | None) -> None:
        """Write the histogram and mark the store complete, with `facts` and a fingerprint of all files."""
        # Integers in .npy need no pickle to read.
        with replacing(self.folder / _HISTOGRAM, durable=True) as unfinished, open(unfinished, "wb") as file:
            np.save(file, histogram)
        write_json(self.folder / _DONE, {**facts, "sha256": self._digest()})

    def is_finished(self) -> bool:
        """Whether every image was written; files may have changed since."""
        return (self.folder / _DONE).is_file()

    def is_complete(self) -> bool:
        """Whether every image was written and no file has changed since; reads all files."""
        if not self.is_finished():
            return False
        try:
            self.histogram()
            facts = self.facts()
            if not {"images", "seconds", "bytes"} <= facts.keys():
                return False
            # Sizes first, as they are fast.
            return facts["bytes"] == self.size_bytes() and facts["sha256"] == self._digest()
        except (DataError, OSError):
            return False

    def sha256(self) -> str | None:
        """The stored fingerprint; None if the store is not finished."""
        return self.facts()["sha256"] if self.is_finished() else None

    def clear(self) -> None:
        """Delete all files of the store, so that an unfinished labelling pass starts over."""
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            if path.name in (_HISTOGRAM, _DONE) or path.suffix == _SUFFIX or is_temporary(path.name):
                path.unlink(missing_ok=True)
        remove_empty([self.folder])

    def facts(self) -> dict[str, Any]:
        """The facts given to `finish` (images, seconds, bytes, teacher), and `sha256`, the fingerprint of all files.

        Raises:
            DataError: The file is missing or damaged.
        """
        path = self.folder / _DONE
        try:
            facts = json.loads(read_regular(path))
        except (OSError, ValueError, RecursionError, DataError) as error:
            raise DataError(f"{_damaged(path)} ({error})") from error
        counts = ("images", "seconds", "cpu_seconds", "bytes")
        if not isinstance(facts, dict) or not all(_is_count(facts.get(key, 0)) for key in counts):
            raise DataError(_damaged(path))
        if not isinstance(facts.get("sha256"), str):
            raise DataError(_damaged(path))
        return facts

    def histogram(self) -> npt.NDArray[np.int64]:
        """Pixels per class and level, int64 (C, LEVELS).

        Raises:
            DataError: The file is missing or damaged, or holds objects, which are never loaded.
        """
        path = self.folder / _HISTOGRAM
        try:
            histogram = np.load(io.BytesIO(read_regular(path)), allow_pickle=False)
        except (OSError, ValueError, EOFError, MemoryError, TypeError, DataError) as error:
            raise DataError(f"{_damaged(path)} ({' '.join(str(error).split()) or type(error).__name__})") from error
        if not isinstance(histogram, np.ndarray) or histogram.dtype.kind != "i" or histogram.shape[1:] != (LEVELS,):
            raise DataError(f"{_damaged(path)}: it holds no histogram")
        return histogram

    def select(self, label_ratio: float) -> PseudoLabels:
        """The pseudo-labels at a label ratio in (0, 1]."""
        return PseudoLabels(self.folder, tuple(threshold_levels(self.histogram(), label_ratio).tolist()))

    def files(self) -> list[Path]:
        """The prediction files, one per image, sorted by name."""
        return sorted(self.folder.glob(f"*{_SUFFIX}"))

    def size_bytes(self) -> int:
        """Total size of the prediction files in bytes."""
        return sum(path.stat().st_size for path in self.files())

    def _digest(self) -> str:
        """SHA-256 of the names and bytes of all files but the marker."""
        digest = hashlib.sha256()
        for path in sorted([*self.folder.glob(f"*{_SUFFIX}"), self.folder / _HISTOGRAM]):
            digest.update(f"{path.name} {hashlib.sha256(read_regular(path)).hexdigest()}\n".encode())
        return digest.hexdigest()

    def _path(self, id: str) -> Path:
        # A flat name, so that no id can point outside the store's folder.
        return self.folder / f"{file_name(id)}{_SUFFIX}"


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _damaged(path: Path) -> str:
    return f"pseudo-label file {path} is missing or damaged; delete its folder and resume to label again"
