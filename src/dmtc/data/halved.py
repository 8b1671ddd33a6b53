"""Half-size images: halved once, cached in a folder, and read from there afterwards."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2

from dmtc.core.errors import DataError
from dmtc.core.files import replacing
from dmtc.core.system_errors import FULL
from dmtc.data.images import read_image

_CLOCK = 2_000_000_000
"""Maximum rounding of file times by a disk, in nanoseconds."""


class HalvedImages(Mapping[str, Path]):
    """Half-size copies of image files, by id.

    A copy is made on first access and gets the time of its source, so it is remade when the source is replaced, even by
    an older file. Making copies lazily means that a short run need not wait for thousands of images, dataloader workers
    share the work, and a stopped run continues where it was. Processes may request the same image at once: each writes
    the same bytes under its own temporary name and renames it, so readers see only whole files.

    Each pixel is the mean of 2x2 pixels, rounded to 8 bits; an odd last row or column is dropped.

    Args:
        full: The full-size files by id.
        cache: The folder for the copies.
        root: The folder that the files come from. Each root gets its own folder in the cache, because two data sets may
            have the same ids.
    """

    def __init__(self, full: Mapping[str, Path], cache: Path, root: Path) -> None:
        self._full = full
        origin = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]
        self.folder = cache.absolute() / origin

    def __getitem__(self, id: str) -> Path:
        """The half-size file, created if needed.

        Raises:
            DataError: The source cannot be read, or the cache cannot be written.
        """
        source, target = self._full[id], self.folder / f"{id}.png"
        try:
            time = source.stat().st_mtime_ns
            if not target.exists() or not time <= target.stat().st_mtime_ns <= time + 2 * _CLOCK:
                with replacing(target) as unfinished:
                    unfinished.write_bytes(_halve(source))
                    os.utime(unfinished, ns=(time + _CLOCK, time + _CLOCK))
        except OSError as error:
            if error.errno in FULL:
                raise  # a machine failure
            raise DataError(
                f"{target}: the half-size copy of {source} cannot be written ({error}); set dataset.cache=DIR, or"
                " dataset.half=false to do without"
            ) from error
        return target

    def source(self, id: str) -> Path:
        """The full-size file."""
        return self._full[id]

    def __contains__(self, id: object) -> bool:
        """Whether the id is known; opens no file."""
        return id in self._full

    def __iter__(self) -> Iterator[str]:
        """The ids."""
        return iter(self._full)

    def __len__(self) -> int:
        """The number of images."""
        return len(self._full)


def _halve(source: Path) -> bytes:
    image = read_image(source)
    if min(image.shape[:2]) < 2:
        raise DataError(f"{source}: too small to be halved; set dataset.half=false")
    height, width = image.shape[0] // 2, image.shape[1] // 2
    half = cv2.resize(image[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
    # OpenCV's default compression gives files as small as the higher levels do, and is the fastest.
    done, png = cv2.imencode(".png", cv2.cvtColor(half, cv2.COLOR_RGB2BGR))
    assert done
    return png.tobytes()
