"""The files written for predictions: `DIR/<kind>/<name of the input>.<suffix>`."""

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from dmtc.core.errors import ConfigError
from dmtc.core.ownership import Manifest
from dmtc.core.types import UInt8Array
from dmtc.data.dataset import few
from dmtc.data.task import Task
from dmtc.prediction.arrays import Prediction
from dmtc.prediction.image_files import confidence_png, jpeg, overlay, palette_png, png, probabilities_npz
from dmtc.prediction.layouts import layout_encoder, layout_paths
from dmtc.prediction.sources import Source
from dmtc.prediction.videos import is_whole_video

log = logging.getLogger(__name__)

SUFFIXES = {
    "index": ".png",
    "palette": ".png",
    "overlay": ".jpg",
    "confidence": ".png",
    "probabilities": ".npz",
    "masks": ".png",
}
GEOTIFF = ".tif"
"""Suffix in place of `.png` for images that are georeferenced."""

_FRAME = re.compile(r"frame_\d{6,}\.(png|npz)")

KINDS = ("index", "palette", "overlay", "confidence", "probabilities")
"""Kinds of output: class indices, the same with a palette, colors over the image, confidences and probabilities."""

Existing = Literal["refuse", "skip", "replace"]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The files to write.

    Attributes:
        folder: The output folder.
        task: Classes and colors.
        kinds: Some of `KINDS`.
        opacity: Opacity of the colors over the image, in [0, 1].
        layout: A name in `LAYOUTS` whose files are also written, or None.
        existing: What to do about existing files.

    Raises:
        ConfigError: A value is out of range, or nothing would be written.
    """

    folder: Path
    task: Task
    kinds: Sequence[str]
    opacity: float
    layout: str | None
    existing: Existing

    known: ClassVar[Sequence[str]] = KINDS
    """The kinds that may be chosen."""
    job: ClassVar[str] = "predict"
    """The job that writes the files."""
    record: ClassVar[str] = "predictions.json"
    """Name of the file that says how they were made."""
    beside: ClassVar[Sequence[str]] = ()
    """Names of further files, of all inputs together."""

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in self.known]
        if unknown:
            raise ConfigError(f"job.write takes {', '.join(KINDS)}, but is {list(self.kinds)}")
        if not self.kinds and self.layout is None:
            raise ConfigError(f"job.write is empty: nothing would be written; it takes {', '.join(KINDS)}")
        if not 0 <= self.opacity <= 1:
            raise ConfigError(f"job.opacity should be in [0, 1], but is {self.opacity}")
        if self.existing not in get_args(Existing):
            raise ConfigError(f"job.existing should be {' or '.join(get_args(Existing))}, but is {self.existing!r}")

    def targets(self, sources: Sequence[Source]) -> dict[Source, dict[str, Path]]:
        """Files of each source by kind; for a video, its overlay, and folders with one file per frame.

        What would be a PNG is a GeoTIFF for an image with a georeference.

        Raises:
            ConfigError: The layout is for other classes.
            DataError: The layout is for images with other names.
        """
        layout = {} if self.layout is None else layout_paths(self.layout, self.task, sources)
        targets = {source: {kind: self._target(source, kind) for kind in self.kinds} for source in sources}
        for source, path in layout.items():
            targets[source]["layout"] = self.folder / path
        return targets

    def _target(self, source: Source, kind: str) -> Path:
        suffix = SUFFIXES[kind] if not source.is_video else ".mp4" if kind == "overlay" else ""
        suffix = GEOTIFF if suffix == ".png" and source.is_georeferenced else suffix
        return self.folder / kind / f"{source.name}{suffix}"

    @property
    def manifest(self) -> Manifest:
        """The list of files in the folder that are predictions."""
        return Manifest(self.folder, self.job, "output")

    def settings(self) -> dict[str, Any]:
        """Settings that change what the files hold, besides those of the prediction."""
        return {}

    def names_of(self, targets: dict[Source, dict[str, Path]]) -> dict[str, str]:
        """Kind of each file by its name in the manifest; folders of frames end in `/`."""
        return {
            path.relative_to(self.folder).as_posix() + ("/" if source.is_video and kind != "overlay" else ""): kind
            for source, paths in targets.items()
            for kind, path in paths.items()
        }

    def left_to_do(self, targets: dict[Source, dict[str, Path]]) -> dict[Source, dict[str, Path]]:
        """The sources that remain to predict, depending on `existing`.

        Args:
            targets: The result of `targets`.

        Raises:
            ConfigError: Existing files must not be replaced: they are not predictions, or `existing` is "refuse".
        """
        names = self.names_of(targets)
        self.manifest.refuse_foreign([*names, *self.beside])
        for name in names:
            if name.endswith("/"):
                _refuse_other_than_frames(self.folder / name)
        present = [str(path) for paths in targets.values() for path in paths.values() if os.path.lexists(path)]
        if not present or self.existing == "replace":
            return targets
        if self.existing == "refuse":
            raise ConfigError(
                f"{len(present)} files to be written already exist: {few(present)}; choose another output,"
                " job.existing=skip to continue where an earlier command stopped, or job.existing=replace"
            )
        left = {s: paths for s, paths in targets.items() if not all(_is_done(path) for path in paths.values())}
        log.info("%d of %d inputs are already done", len(targets) - len(left), len(targets))
        return left

    def encoders(self) -> dict[str, Callable[[UInt8Array, Prediction], bytes]]:
        """The encoder of each kind, which takes an image uint8 (H, W, 3) and its prediction."""
        palette = self.task.color_table
        encoders: dict[str, Callable[[UInt8Array, Prediction], bytes]] = {
            "index": lambda _, prediction: png(prediction.label),
            "palette": lambda _, prediction: palette_png(prediction.label, palette),
            "overlay": lambda image, prediction: jpeg(self.overlaid(image, prediction)),
            "confidence": lambda _, prediction: confidence_png(prediction),
            "probabilities": lambda _, prediction: probabilities_npz(prediction),
        }
        chosen = {kind: encoders[kind] for kind in self.kinds}
        if self.layout is not None:
            encode = layout_encoder(self.layout)
            chosen["layout"] = lambda _, prediction: encode(prediction.label)
        return chosen

    def overlaid(self, image: UInt8Array, prediction: Prediction) -> UInt8Array:
        """The image blended with the colors of its classes."""
        return overlay(image, prediction.label, self.task.color_table, self.opacity)


def _refuse_other_than_frames(folder: Path) -> None:
    """Refuse to replace a folder of frames that holds other files."""
    if folder.is_dir():
        foreign = next((path for path in sorted(folder.iterdir()) if not _FRAME.fullmatch(path.name)), None)
        if foreign is not None:
            raise ConfigError(f"{foreign} is not a frame of a video and is left alone; choose another output")


def _is_done(path: Path) -> bool:
    """Whether a result exists, and a video is complete."""
    return os.path.exists(path) and (path.suffix != ".mp4" or path.is_dir() or is_whole_video(path))


def frame_names(suffix: str) -> Iterator[str]:
    """`frame_000000.png`, `frame_000001.png`, ..."""
    number = 0
    while True:
        yield f"frame_{number:06d}{suffix}"
        number += 1
