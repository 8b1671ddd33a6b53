"""Decoded images in a folder: read back with one copy, where decoding a JPEG is most of the work of a training crop."""

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

_HEAD = struct.Struct("<2I4Q")  # height and width; and what tells the image file, as by `_state`
_SAMPLE = 32


class ImageCache:
    """Reads images as an `ImageReader` does, and keeps their pixels in a folder that any number of runs may share.

    An image is kept when it is first read, and anew when its file has another time or size than then, or is another
    one. Nothing is locked: processes that decode an image at once each write the same bytes under a name of their own
    and rename it, so a reader sees a whole file or none. What is read again and again stays in the system's memory as
    long as that has room; a folder under /dev/shm is memory from the start.

    Args:
        folder: Where the pixels are kept; made when the first are.
        reader: What reads the files. Pixels that another one has read are told apart.
    """

    def __init__(self, folder: Path, reader: ImageReader = read_image) -> None:
        self.folder = folder.absolute()
        self._reader = reader
        self._read_as = "" if reader == read_image else repr(reader)
        self._told = False

    def __call__(self, path: Path) -> UInt8Array:
        """The image in a file, uint8 (H, W, 3), RGB.

        Raises:
            FileFault: As the reader.
        """
        try:
            status = path.stat()
        except (OSError, ValueError):
            return self._reader(path)  # tells what is wrong
        # The time is taken first: if the file changes while it is read, it is read again the next time.
        changed = _state(status)
        image = self._kept(path, changed)
        if image is None:
            image = self._reader(path)
            self._keep(path, changed, image)
        return image

    def forecast(self, images: Mapping[str, Path], ids: Sequence[str]) -> str:
        """How much the cache will hold once these images are in it, estimated from some of them, as one line.

        Raises:
            ConfigError: What is missing does not fit on the disk.
        """
        remove_unfinished(self.folder)  # by processes that were killed
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

    def _kept(self, path: Path, changed: tuple[int, ...]) -> UInt8Array | None:
        try:
            content = np.fromfile(self._target(path), np.uint8)
        except OSError:
            return None
        if len(content) < _HEAD.size:
            return None
        height, width, *of = _HEAD.unpack(content[: _HEAD.size].tobytes())
        if tuple(of) != changed or len(content) != _HEAD.size + 3 * height * width:
            return None
        return content[_HEAD.size :].reshape(height, width, 3)

    def _keep(self, path: Path, changed: tuple[int, ...], image: UInt8Array) -> None:
        try:
            write_atomically(self._target(path), _HEAD.pack(*image.shape[:2], *changed) + image.tobytes())
        except OSError as error:
            if not self._told:  # reading goes on as without a cache
                self._told = True
                log.warning("image cache %s: cannot be written (%s)", self.folder, error.strerror)

    def _target(self, path: Path) -> Path:
        name = f"{path.absolute()}{self._read_as}"
        return self.folder / f"{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:32]}.rgb"


def _state(status: os.stat_result) -> tuple[int, ...]:
    """What differs if a file does: folders that were swapped have files of the same times, and perhaps sizes."""
    return status.st_mtime_ns, status.st_size, status.st_ctime_ns, status.st_ino


def _decoded_bytes(images: Mapping[str, Path], ids: Sequence[str]) -> Iterator[tuple[Path, int]]:
    """Path of each image, and what it takes once it is decoded, by its head alone."""
    for id in ids:
        try:
            size = picture_size(path := images[id])
        except DataError:
            continue  # told when it is read
        if size is not None:
            yield path, _HEAD.size + 3 * size[0] * size[1]


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
