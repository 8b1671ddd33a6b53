"""Reading and writing videos with OpenCV."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from dmtc.core.errors import DataError
from dmtc.core.files import replacing, require_regular
from dmtc.core.types import UInt8Array
from dmtc.data.faults import FileFault

UNREADABLE_VIDEO = "unreadable video"

_DEFAULT_RATE = 25.0

_MIN_FREE = 1 << 16
"""Free bytes below which a disk counts as full. Checked here, as OpenCV reports no failed writes."""

_CHECK_EVERY = 25
"""Frames between checks of the free disk space."""

# Otherwise FFmpeg prints its own lines about every file that it cannot read.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """Metadata of a video.

    Attributes:
        rate: Frames per second; 25 if unknown.
        frames: Expected number of frames; 0 if unknown.
    """

    rate: float
    frames: int


class Video:
    """A video open for reading. Frames are upright, as players show them.

    Args:
        path: The file.

    Raises:
        FileFault: It is missing, or not a video that OpenCV can read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            require_regular(path)
        except (DataError, OSError) as error:
            raise FileFault(f"{path}: cannot be read as a video ({error})", UNREADABLE_VIDEO) from None
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            self._capture.release()
            raise FileFault(f"{path}: cannot be read as a video", UNREADABLE_VIDEO)
        rate, frames = self._capture.get(cv2.CAP_PROP_FPS), self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.facts = VideoFacts(rate if 0 < rate < 1000 else _DEFAULT_RATE, max(0, int(frames)))

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._capture.release()

    def batches(self, size: int) -> Iterator[list[UInt8Array]]:
        """Batches of up to `size` frames, each uint8 (H, W, 3), RGB, in order."""
        batch: list[UInt8Array] = []
        while True:
            ok, frame = self._capture.read()
            if ok:
                batch.append(np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8))
            if batch and (not ok or len(batch) == size):
                yield batch
                batch = []
            if not ok:
                return


class VideoFile:
    """A video open for writing."""

    def __init__(self, path: Path, rate: float, height: int, width: int) -> None:
        self.path = path
        self.frames = 0
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
        if not self._writer.isOpened():
            _require_free_space(path)  # a full disk fails the same way
            raise DataError(f"{path}: this OpenCV cannot write MP4 videos; leave overlay out of job.write")

    def write(self, frame: UInt8Array) -> None:
        """Append a frame uint8 (H, W, 3), RGB.

        Raises:
            OSError: The disk is full.
        """
        if self.frames % _CHECK_EVERY == 0:
            _require_free_space(self.path)
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self.frames += 1

    def close(self) -> None:
        """Finish the file."""
        self._writer.release()

    def verify(self) -> None:
        """Read the file back, as OpenCV reports no failed writes.

        Raises:
            OSError: The file is incomplete.
        """
        _require_free_space(self.path)
        found = _readable_frames(self.path)
        if found != self.frames:
            raise OSError(errno.EIO, f"only {found} of {self.frames} frames could be written", str(self.path))


@contextmanager
def writing_video(path: Path, rate: float, height: int, width: int) -> Iterator[VideoFile]:
    """An MP4 file (MPEG-4 part 2, no sound) that gets its name once it is complete.

    Args:
        path: The file; its folders are created.
        rate: Frames per second.
        height: Height of every frame in pixels.
        width: Width of every frame in pixels.

    Raises:
        DataError: OpenCV was built without the encoder.
        OSError: The file cannot be written.
    """
    with replacing(path, suffix=".mp4") as unfinished:  # OpenCV chooses the format by the suffix
        video = VideoFile(unfinished, rate, height, width)
        try:
            yield video
        finally:
            video.close()
        video.verify()


def is_whole_video(path: Path) -> bool:
    """Whether a video exists with its index of frames, which is written last."""
    capture = cv2.VideoCapture(str(path))
    try:
        return capture.isOpened() and capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0 and capture.grab()
    finally:
        capture.release()


def _readable_frames(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count


def _require_free_space(path: Path) -> None:
    if shutil.disk_usage(path.parent).free < _MIN_FREE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
