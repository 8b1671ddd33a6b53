"""Converts an export: reads its labels, paints masks, and writes a folder for `dataset=folder`, whole or not at all."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from dmtc.conversion.classes import Classes, Rest
from dmtc.conversion.formats import FORMATS
from dmtc.conversion.input_files import InputFiles
from dmtc.conversion.labels import Labels, Picture
from dmtc.conversion.orientation import upright_copy
from dmtc.conversion.output_names import output_names
from dmtc.conversion.unpacking import unpack
from dmtc.core.errors import ConfigError, DataError, UserError
from dmtc.core.files import remove_unfinished_of, replacing_folder
from dmtc.core.ownership import Manifest, is_inside, require_folder
from dmtc.core.registry import unknown
from dmtc.core.types import UInt8Array
from dmtc.data.dataset import size_text
from dmtc.data.faults import IMAGE_VALUES, FileFault
from dmtc.data.images import read_image
from dmtc.data.opening import picture_size, require_room
from dmtc.data.part_names import Part
from dmtc.prediction.image_files import palette_png
from dmtc.tracking.progress import Progress

_SCRATCH = "unfinished"


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What to convert, and how.

    Attributes:
        input: A folder, a zip archive, or one label file.
        output: The folder to write.
        format: A name in `FORMATS`; None to detect it.
        images: The folder that holds the images, if it is not in `input`.
        rest: What pixels are that nobody painted.
        empty: What images are that a label file names without painting anything: unlabelled, or all background.
        damaged: Whether damaged entries and missing images end the conversion, or are left out.
        existing: Whether an earlier conversion in `output` is replaced.
    """

    input: Path
    output: Path
    format: str | None = None
    images: Path | None = None
    rest: Rest = "background"
    empty: Literal["unlabelled", "background"] = "unlabelled"
    damaged: Literal["refuse", "leave_out"] = "refuse"
    existing: Literal["refuse", "replace"] = "refuse"


@dataclass(kw_only=True)
class Converted:
    """What was converted.

    Attributes:
        format: Name of the format.
        classes: Class names in index order.
        pixels: Number of pixels of each class, and of ignored ones last.
        images_of: Number of masks with each class, and with ignored pixels last.
        masks: Number of images with a mask, by part.
        unlabelled: Number of images without a mask, by part.
        left_out: What masks cannot hold, or what was damaged, counted.
        faults: The damaged entries that were left out.
    """

    format: str
    classes: tuple[str, ...]
    pixels: np.ndarray
    images_of: np.ndarray
    masks: Counter[Part | None] = field(default_factory=Counter)
    unlabelled: Counter[Part | None] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def convert(conversion: Conversion, progress: Progress) -> Converted:
    """Convert an export; the output gets its name once it is complete.

    Raises:
        ConfigError: A path or option cannot be used, or the output holds other files.
        DataError: The export is damaged, of no known format, or names images that are missing.
        OSError: A file cannot be written.
    """
    _require_paths(conversion)
    _require_free(conversion)
    remove_unfinished_of(conversion.output.absolute())
    with replacing_folder(conversion.output) as new, _spoken_of(conversion.input, new):
        scratch = new / _SCRATCH
        scratch.mkdir()
        files = _open(conversion, scratch)
        name = _format(conversion.format, files)
        labels = Labels()
        FORMATS.build({"name": name}, "job.format").read(files, labels)
        _refuse_faults(labels, conversion)
        converted = _Writer(conversion, files, labels, new, progress).write(name)
        _refuse_faults(labels, conversion)
        shutil.rmtree(scratch)
        written = [path.relative_to(new).as_posix() for path in sorted(new.rglob("*")) if path.is_file()]
        Manifest(new, "convert", "output").record(written)
    return converted


class _Writer:
    """Writes the images, masks and classes of an export."""

    def __init__(
        self, conversion: Conversion, files: InputFiles, labels: Labels, folder: Path, progress: Progress
    ) -> None:
        self._conversion = conversion
        self._labels = labels
        self._folder = folder
        self._progress = progress
        self._classes = Classes.of(labels, conversion.rest)
        named = {picture.path.resolve() for picture in labels.pictures}
        others = [path for path in files.pictures if path.resolve() not in named]
        self._pictures = [
            *labels.pictures,
            *(Picture(path, path.name, part=files.part(path), is_named=False) for path in others),
        ]
        if not self._pictures:
            raise DataError("there are no images in the export; job.images=DIR names the folder that holds them")
        parts: dict[Path, Part | None] = {picture.path: picture.part for picture in self._pictures}
        inside = {
            path: path.relative_to(files.pool) if path.is_relative_to(files.pool) else Path(path.name) for path in parts
        }
        self._names = output_names(inside, parts)

    def write(self, format: str) -> Converted:
        count = len(self._classes.names)
        done = Converted(
            format=format,
            classes=self._classes.names,
            pixels=np.zeros(count + 1, np.int64),
            images_of=np.zeros(count + 1, np.int64),
        )
        self._progress.begin("converting", len(self._pictures), "image")
        try:
            for picture in self._pictures:
                with self._labels.item(picture.where):
                    self._write_one(picture, done)
                self._progress.advance(1)
        finally:
            self._progress.end()
        (self._folder / "classes.yaml").write_text(self._classes.to_yaml(), encoding="utf-8")
        done.left_out, done.faults = +self._labels.left_out, self._labels.faults
        if not done.masks and not done.faults:
            raise DataError(
                "no image has a label that a mask can hold"
                + "".join(f"; left out: {number} {what}" for what, number in done.left_out.items())
            )
        return done

    def _write_one(self, picture: Picture, done: Converted) -> None:
        name = self._names[picture.path]
        content, height, width = _image(picture)
        target = self._folder / "images" / f"{name}{'.png' if content else picture.path.suffix.lower()}"
        mask = self._mask(picture, height, width)
        target.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            shutil.copyfile(picture.path, target)
        else:
            target.write_bytes(content)
        if mask is None:
            done.unlabelled[picture.part] += 1
            return
        path = self._folder / "masks" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(palette_png(mask, self._classes.palette))
        counts = np.bincount(mask.ravel(), minlength=256)
        counts = np.append(counts[: len(self._classes.names)], counts[255])
        done.pixels += counts
        done.images_of += counts > 0
        done.masks[picture.part] += 1

    def _mask(self, picture: Picture, height: int, width: int) -> UInt8Array | None:
        """The mask of an image; None if the image is unlabelled."""
        layers = [*picture.ignored, *picture.layers]
        is_empty = not layers and picture.is_named and self._conversion.empty == "background"
        if picture.is_damaged or not (layers or is_empty):
            return None
        canvas = np.full((height, width), self._classes.rest, np.uint8)
        for layer in layers:
            with self._labels.item(picture.where, picture):
                if not layer.paint(canvas, self._classes.values):
                    self._labels.left_out["objects without a pixel in their image"] += 1
        return None if picture.is_damaged else canvas


def _image(picture: Picture) -> tuple[bytes | None, int, int]:
    """Check an image; return its new content if it must be turned, else None, and its height and width.

    Raises:
        DataError: The image is damaged, or its labels were drawn for another size.
    """
    path = picture.path
    size = picture_size(path)
    if size is not None:
        require_room(path, *size, 8)
    try:
        height, width = read_image(path).shape[:2]
    except FileFault as error:
        if error.kind != IMAGE_VALUES or size is None:
            raise
        height, width = size
    content = upright_copy(path, (height, width), picture.size) if picture.layers or picture.ignored else None
    if content is not None:
        return content, width, height
    if picture.size is not None and tuple(picture.size) != (height, width):
        raise DataError(f"its labels are for {size_text(picture.size)} pixels, but the image has {width}x{height}")
    return None, height, width


def _require_paths(conversion: Conversion) -> None:
    if not conversion.input.exists():
        raise DataError(f"input={conversion.input}: there is no such file or folder (looked from {Path.cwd()})")
    require_folder(conversion.output, "output")
    for option, folder in (("input", conversion.input), ("job.images", conversion.images)):
        if folder is None:
            continue
        if option == "job.images" and not folder.is_dir():
            raise DataError(f"job.images={folder}: there is no such folder (looked from {Path.cwd()})")
        if is_inside(conversion.output, folder) or is_inside(folder, conversion.output):
            raise ConfigError(
                f"output={conversion.output} and {option}={folder} lie in each other; choose another output"
            )


def _require_free(conversion: Conversion) -> None:
    """Refuse an output that holds anything but an earlier conversion that may be replaced."""
    output = conversion.output
    there = (
        sorted(path for path in output.rglob("*") if path.is_symlink() or not path.is_dir()) if output.is_dir() else []
    )
    if not there:
        return
    manifest = Manifest(output, "convert", "output")
    if manifest.exists() and conversion.existing == "refuse":
        raise ConfigError(f"output={output} holds an earlier conversion; choose another, or job.existing=replace")
    manifest.refuse_foreign(path.relative_to(output).as_posix() for path in there if path != manifest.path)


def _open(conversion: Conversion, scratch: Path) -> InputFiles:
    path, kept = conversion.input, scratch / "embedded"
    kept.mkdir()
    if path.is_dir():
        return InputFiles(path, None, conversion.images, kept)
    if path.suffix.lower() == ".zip":
        (unpacked := scratch / "unpacked").mkdir()
        unpack(path, unpacked)
        return InputFiles(unpacked, None, conversion.images, kept)
    return InputFiles(path.parent, path, conversion.images, kept)


def _format(name: str | None, files: InputFiles) -> str:
    if name is not None:
        if name not in FORMATS.names():
            raise ConfigError(f"job.format: unknown label format {unknown(name, FORMATS.names())}")
        return name
    found = [one for one in FORMATS.names() if FORMATS.build({"name": one}).detect(files)]
    if not found:
        known = ", ".join(FORMATS.names())
        raise files.fault or DataError(f"no label files of a known tool are there (job.format: {known})")
    if len(found) > 1:
        raise DataError(f"the label files may be of {' or '.join(found)}; job.format=... says which")
    return found[0]


def _refuse_faults(labels: Labels, conversion: Conversion) -> None:
    if labels.faults and conversion.damaged == "refuse":
        first, more = labels.faults[0], len(labels.faults) - 1
        rest = f"; and {more} more fault{'s' if more > 1 else ''}" if more else ""
        raise DataError(f"{first}{rest} (job.damaged=leave_out converts the rest)")


@contextmanager
def _spoken_of(given: Path, new: Path) -> Iterator[None]:
    """Name the input in messages about files that were unpacked from it."""
    try:
        yield
    except UserError as error:
        unpacked = os.fspath(new / _SCRATCH / "unpacked")
        raise type(error)(str(error).replace(unpacked, str(given))) from None
