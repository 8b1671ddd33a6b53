"""Videos by OpenCV: frame by frame in, and out again."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from dmtc.data.faults import FileFault
from dmtc.errors import DataError
from dmtc.files import replacing
from dmtc.types import UInt8Array

UNREADABLE_VIDEO = "unreadable video"

_USUAL_RATE = 25.0

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
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
        if not self._writer.isOpened():
            raise DataError(f"{path}: this OpenCV cannot write MP4 videos; leave overlay out of job.write")

    def write(self, frame: UInt8Array) -> None:
        """Append a frame uint8 (H, W, 3), RGB."""
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Write what is left."""
        self._writer.release()


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
    with replacing(path) as temporary:
        unfinished = temporary.with_name(f"{temporary.name}.mp4")  # OpenCV goes by the suffix
        try:
            video = VideoFile(unfinished, rate, height, width)
            try:
                yield video
            finally:
                video.close()
            os.replace(unfinished, temporary)
        finally:
            unfinished.unlink(missing_ok=True)
