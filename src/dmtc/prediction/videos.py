"""Videos by OpenCV: frame by frame in, and out again."""

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

_USUAL_RATE = 25.0

_ROOM = 1 << 16
"""Bytes without which a disk counts as full. Nobody else would notice: OpenCV tells nothing of a write that failed."""

_OFTEN = 25
"""Frames after which it is looked how full the disk is."""

# FFmpeg would write lines of its own about every file that it cannot read, besides ours.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a video says of itself.

    Attributes:
        rate: Frames a second; 25 if it does not say.
        frames: How many there should be; 0 if it does not say.
    """

    rate: float
    frames: int


class Video:
    """A video, open for reading. Frames come upright, as players show them.

    Args:
        path: Its file.

    Raises:
        FileFault: It is missing, or no video that OpenCV can read.
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
        self.facts = VideoFacts(rate if 0 < rate < 1000 else _USUAL_RATE, max(0, int(frames)))

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._capture.release()

    def batches(self, size: int) -> Iterator[list[UInt8Array]]:
        """Up to `size` frames at a time, each uint8 (H, W, 3), RGB, in order."""
        batch: list[UInt8Array] = []
        while True:
            there, frame = self._capture.read()
            if there:
                batch.append(np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8))
            if batch and (not there or len(batch) == size):
                yield batch
                batch = []
            if not there:
                return


class VideoFile:
    """A video, open for writing."""

    def __init__(self, path: Path, rate: float, height: int, width: int) -> None:
        self.path = path
        self.frames = 0
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
        if not self._writer.isOpened():
            _require_room(path)  # what it then cannot do either
            raise DataError(f"{path}: this OpenCV cannot write MP4 videos; leave overlay out of job.write")

    def write(self, frame: UInt8Array) -> None:
        """Append a frame uint8 (H, W, 3), RGB.

        Raises:
            OSError: The disk is full.
        """
        if self.frames % _OFTEN == 0:
            _require_room(self.path)
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self.frames += 1

    def close(self) -> None:
        """Write what is left."""
        self._writer.release()

    def verify(self) -> None:
        """Read it back, as OpenCV tells nothing of what could not be written.

        Raises:
            OSError: It is not whole.
        """
        _require_room(self.path)
        found = _readable_frames(self.path)
        if found != self.frames:
            raise OSError(errno.EIO, f"only {found} of {self.frames} frames could be written", str(self.path))


@contextmanager
def writing_video(path: Path, rate: float, height: int, width: int) -> Iterator[VideoFile]:
    """An MP4 file (MPEG-4 part 2, no sound) that gets its name when it is whole.

    Args:
        path: The file; folders are made.
        rate: Frames a second.
        height: Of every frame, in pixels.
        width: Likewise.

    Raises:
        DataError: OpenCV was built without the encoder.
        OSError: It cannot be written.
    """
    with replacing(path, suffix=".mp4") as unfinished:  # OpenCV goes by the suffix
        video = VideoFile(unfinished, rate, height, width)
        try:
            yield video
        finally:
            video.close()
        video.verify()


def is_whole_video(path: Path) -> bool:
    """Whether a video is there with its frames' places, which are written last."""
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


def _require_room(path: Path) -> None:
    if shutil.disk_usage(path.parent).free < _ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
