"""Images at half their size: reduced once, kept in a cache folder, read from there ever after."""

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
"""Nanoseconds that a disk may round times by."""


class HalvedImages(Mapping[str, Path]):
    """Image files by id, each at half the size of another one.

    A copy is made when it is first asked for, and has the time of its source; so it is made anew when that is another
    one, also an older one that has taken its place. So nothing waits until thousands of images are done of which a
    short run needs a few, loader processes share the work, and a run that was stopped goes on where it was. Processes
    may ask at once, also for the same image: each would write the same bytes under a name of its own and rename it, so
    a reader sees a whole file and whoever comes last changes nothing.

    A pixel is the mean of 2x2 pixels, rounded to 8 bits; an odd last row or column is left out.

    Args:
        full: The files at full size, by id.
        cache: The folder for the copies.
        root: The folder that the files come from. Each gets a folder of its own in the cache, as two data sets may
            have the same ids.
    """

    def __init__(self, full: Mapping[str, Path], cache: Path, root: Path) -> None:
        self._full = full
        origin = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]
        self.folder = cache.absolute() / origin

    def __getitem__(self, id: str) -> Path:
        """The half-size file, made if need be.

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
                raise  # the machine's fault
            raise DataError(
                f"{target}: the half-size copy of {source} cannot be made ({error}); set dataset.cache=DIR, or"
                " dataset.half=false to do without"
            ) from error
        return target

    def source(self, id: str) -> Path:
        """The file at full size."""
        return self._full[id]

    def __contains__(self, id: object) -> bool:
        """Whether there is such an image; nothing is opened."""
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
    # OpenCV's default compression: as small as the higher levels, and the fastest to write and to read.
    done, png = cv2.imencode(".png", cv2.cvtColor(half, cv2.COLOR_RGB2BGR))
    assert done
    return png.tobytes()
