"""Cache of decoded images: decoding a JPEG is most of the work of a training crop, reading pixels is one copy."""

import hashlib
import logging
import os
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dmtc.core.errors import ConfigError, DataError
from dmtc.core.files import remove_unfinished, write_atomically
from dmtc.core.types import UInt8Array
from dmtc.data.images import ImageReader, read_image
from dmtc.data.opening import picture_size

log = logging.getLogger(__name__)

_HEAD = struct.Struct("<2I4Q")  # height, width, and the image file's `_state`
_SAMPLE = 32


class ImageCache:
    """Reads images like an `ImageReader` and caches their pixels in a folder that any number of runs may share.

    An image is cached when it is first read, and cached again when its file is replaced or its time or size changes.
    There are no locks: processes that decode the same image at once each write the same bytes under their own temporary
    name and rename it, so a reader sees a whole file or none. The system keeps frequently read files in memory as long
    as there is room; a folder under /dev/shm is in memory from the start.

    Args:
        folder: The cache folder, created on first use.
        reader: Reads the image files. Pixels from different readers are cached separately.
    """

    def __init__(self, folder: Path, reader: ImageReader = read_image) -> None:
        self.folder = folder.absolute()
        self._reader = reader
        self._read_as = "" if reader == read_image else repr(reader)
        self._warned = False

    def __call__(self, path: Path) -> UInt8Array:
        """Read the image in a file as uint8 (H, W, 3), RGB.

        Raises:
            FileFault: The reader cannot read the file.
        """
        try:
            status = path.stat()
        except (OSError, ValueError):
            return self._reader(path)  # raises the proper error
        # The state is taken first, so that a file that changes while it is read is read again next time.
        state = _state(status)
        image = self._load(path, state)
        if image is None:
            image = self._reader(path)
            self._store(path, state, image)
        return image

    def forecast(self, images: Mapping[str, Path], ids: Sequence[str]) -> str:
        """Estimate from a sample how much space these images will take in the cache; return it as one line.

        Raises:
            ConfigError: The images not cached yet do not fit on the disk.
        """
        remove_unfinished(self.folder)  # left by killed processes
        step = max(1, len(ids) // _SAMPLE)
        sample = dict(_decoded_bytes(images, ids[::step]))
        share = len(ids) / max(1, len(sample))
        total = share * sum(sample.values())
        missing = share * sum(size for path, size in sample.items() if not self._target(path).exists())
        existing = next(folder for folder in (self.folder, *self.folder.parents) if folder.exists())
        free = shutil.disk_usage(existing).free
        if missing > free:
            raise ConfigError(
                f"run.image_cache={self.folder}: {len(ids)} decoded images take {_gigabytes(total)}, but only"
                f" {_gigabytes(free)} are free there; choose another folder, or null to decode an image whenever it is"
                " read"
            )
        return (
            f"image cache {self.folder}: {len(ids)} decoded images take about {_gigabytes(total)},"
            f" {_gigabytes(missing)} of it still to be written; {_gigabytes(free)} are free"
        )

    def _load(self, path: Path, state: tuple[int, ...]) -> UInt8Array | None:
        try:
            content = np.fromfile(self._target(path), np.uint8)
        except OSError:
            return None
        if len(content) < _HEAD.size:
            return None
        height, width, *cached_state = _HEAD.unpack(content[: _HEAD.size].tobytes())
        if tuple(cached_state) != state or len(content) != _HEAD.size + 3 * height * width:
            return None
        return content[_HEAD.size :].reshape(height, width, 3)

    def _store(self, path: Path, state: tuple[int, ...], image: UInt8Array) -> None:
        try:
            write_atomically(self._target(path), _HEAD.pack(*image.shape[:2], *state) + image.tobytes())
        except OSError as error:
            if not self._warned:  # reading continues as without a cache
                self._warned = True
                log.warning("image cache %s: cannot be written (%s)", self.folder, error.strerror)

    def _target(self, path: Path) -> Path:
        name = f"{path.absolute()}{self._read_as}"
        return self.folder / f"{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:32]}.rgb"


def _state(status: os.stat_result) -> tuple[int, ...]:
    """File attributes that tell two files apart; after folders are swapped, times and even sizes may be equal."""
    return status.st_mtime_ns, status.st_size, status.st_ctime_ns, status.st_ino


def _decoded_bytes(images: Mapping[str, Path], ids: Sequence[str]) -> Iterator[tuple[Path, int]]:
    """Yield the path of each image and its decoded size in bytes, from the file's header only."""
    for id in ids:
        try:
            size = picture_size(path := images[id])
        except DataError:
            continue  # reported when the image is read
        if size is not None:
            yield path, _HEAD.size + 3 * size[0] * size[1]


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
