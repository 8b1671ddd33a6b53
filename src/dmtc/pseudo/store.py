"""The pseudo-label store: one teacher's predictions for every pixel of every unlabelled image, on disk.

Per image two lossless PNG files (predicted class, confidence level), per teacher one histogram. Which pixels become
pseudo-labels is decided when they are read, so one pass of the teacher serves every label ratio.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dmtc.data.ids import file_name
from dmtc.errors import DataError
from dmtc.files import replacing, write_atomically, write_json
from dmtc.pseudo.selection import LEVELS, Levels, level_confidence, threshold_confidences, threshold_levels
from dmtc.types import IGNORE_INDEX, Float32Array, UInt8Array

_CONFIDENCE = level_confidence()
# Level 1 costs a third of the time of OpenCV's default for a few percent of the size. The difference to the pixel above
# halves the time of reading levels and is smaller, too; OpenCV before 4.12 cannot be told, and mixes filters.
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):
    _PNG += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
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

    @property
    def confidences(self) -> Float32Array:
        """The confidence from which each class is kept: float32 (C,), 0 where all of it is."""
        return threshold_confidences(np.array(self.thresholds))

    def read(self, id: str) -> tuple[UInt8Array, Float32Array]:
        """Label (H, W) uint8 with 255 where not selected, and confidence (H, W) float32."""
        label, level = PseudoLabelStore(self.folder).read(id)
        lowest = np.full(256, np.iinfo(np.uint16).max, np.uint16)
        lowest[: len(self.thresholds)] = self.thresholds
        # `take` looks up faster than indexing does; 255 | label is 255.
        ignored = (level < lowest.take(label)).view(np.uint8) * np.uint8(IGNORE_INDEX)
        return label | ignored, _CONFIDENCE.take(level)


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
            coded, data = cv2.imencode(".png", array, _PNG)
            assert coded
            write_atomically(self._path(id, suffix), data.tobytes())

    def read(self, id: str) -> tuple[UInt8Array, Levels]:
        """Predicted class uint8 (H, W) and confidence level uint16 (H, W).

        Raises:
            DataError: The file is missing, unreadable, or no prediction.
        """
        label, level = (_read_png(self._path(id, suffix)) for suffix in ("label", "level"))
        fits = label.ndim == 2 and label.shape == level.shape and label.dtype == np.uint8 and level.dtype == np.uint16
        if not fits or level.max() >= LEVELS:
            raise DataError(f"{_damaged(self._path(id, 'label'))}: it and the level beside it do not belong together")
        return label, level

    def __contains__(self, id: object) -> bool:
        """Whether there is a prediction for an image."""
        return isinstance(id, str) and self._path(id, "label").is_file() and self._path(id, "level").is_file()

    def finish(self, histogram: npt.NDArray[np.int64], **facts: float) -> None:
        """Write the histogram and mark the store complete."""
        # Plain .npy of integers: read back without pickle.
        with replacing(self.folder / "histogram.npy", durable=True) as unfinished, open(unfinished, "wb") as file:
            np.save(file, histogram)
        write_json(self.folder / _DONE, facts)

    def is_complete(self) -> bool:
        """Whether every image was written, and is still there as far as the sizes of the files can tell."""
        if not (self.folder / _DONE).is_file():
            return False
        try:
            self.histogram()
            return self.facts().get("bytes") in (None, self.size_bytes())
        except DataError:
            return False

    def clear(self) -> None:
        """Delete everything: an unfinished labelling pass begins anew."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)

    def facts(self) -> dict[str, float]:
        """What `finish` was told: images, seconds, bytes.

        Raises:
            DataError: The file is missing or damaged.
        """
        path = self.folder / _DONE
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise DataError(f"{_damaged(path)} ({error})") from error

    def histogram(self) -> npt.NDArray[np.int64]:
        """Pixels per class and level, int64 (C, LEVELS).

        Raises:
            DataError: The file is missing or damaged, or holds objects, which are never loaded.
        """
        path = self.folder / "histogram.npy"
        try:
            histogram = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{_damaged(path)} ({str(error).splitlines()[0]})") from error
        if not isinstance(histogram, np.ndarray) or histogram.dtype.kind != "i" or histogram.shape[1:] != (LEVELS,):
            raise DataError(f"{_damaged(path)}: it holds no histogram")
        return histogram

    def select(self, label_ratio: float) -> PseudoLabels:
        """The pseudo-labels at a label ratio in (0, 1]."""
        return PseudoLabels(self.folder, tuple(threshold_levels(self.histogram(), label_ratio).tolist()))

    def size_bytes(self) -> int:
        """Bytes of the predictions on disk."""
        return sum(path.stat().st_size for path in self.folder.glob("*.png"))

    def _path(self, id: str, suffix: str) -> Path:
        # Flat, so that no id leaves the store's folder.
        return self.folder / f"{file_name(id)}.{suffix}.png"


def _read_png(path: Path) -> npt.NDArray[Any]:
    try:
        array = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error):
        array = None
    if array is None:
        raise DataError(_damaged(path))
    return array


def _damaged(path: Path) -> str:
    return f"pseudo-label file {path} is missing or damaged; delete its folder and resume to label again"
