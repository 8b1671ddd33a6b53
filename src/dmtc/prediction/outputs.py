"""What is written of a prediction, and where: `DIR/<kind>/<name of the input>.<suffix>`."""

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

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
}
_FRAME = re.compile(r"frame_\d{6,}\.(png|npz)")

KINDS = tuple(SUFFIXES)
"""What may be written: class indices, the same in color, the picture under the colors, and how sure the network is."""

Existing = Literal["refuse", "skip", "replace"]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is written, and where.

    Attributes:
        folder: Around all of it.
        task: Classes and colors.
        kinds: Of `KINDS`.
        opacity: Of the colors over the picture, in [0, 1].
        layout: A name in `LAYOUTS` whose files are written too, or None.
        existing: What becomes of files that are already there.

    Raises:
        ConfigError: A value is out of its range, or nothing would be written.
    """

    folder: Path
    task: Task
    kinds: Sequence[str]
    opacity: float
    layout: str | None
    existing: Existing

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown:
            raise ConfigError(f"job.write takes {', '.join(KINDS)}, but is {list(self.kinds)}")
        if not self.kinds and self.layout is None:
            raise ConfigError(f"job.write is empty: nothing would be written; it takes {', '.join(KINDS)}")
        if not 0 <= self.opacity <= 1:
            raise ConfigError(f"job.opacity should lie in [0, 1], but is {self.opacity}")
        if self.existing not in get_args(Existing):
            raise ConfigError(f"job.existing should be {' or '.join(get_args(Existing))}, but is {self.existing!r}")

    def targets(self, sources: Sequence[Source]) -> dict[Source, dict[str, Path]]:
        """Files of each source by kind; of a video, its overlay, and folders of one file a frame.

        Raises:
            ConfigError: The layout is for other classes.
            DataError: The layout is for images of other names.
        """
        layout = {} if self.layout is None else layout_paths(self.layout, self.task, sources)
        targets = {source: {kind: self._target(source, kind) for kind in self.kinds} for source in sources}
        for source, path in layout.items():
            targets[source]["layout"] = self.folder / path
        return targets

    def _target(self, source: Source, kind: str) -> Path:
        suffix = SUFFIXES[kind] if not source.is_video else ".mp4" if kind == "overlay" else ""
        return self.folder / kind / f"{source.name}{suffix}"

    @property
    def manifest(self) -> Manifest:
        """Which files in the folder are predictions."""
        return Manifest(self.folder, "predict", "output")

    def names_of(self, targets: dict[Source, dict[str, Path]]) -> dict[str, str]:
        """Kind of each file, by its name as in the manifest; a folder of frames ends in `/`."""
        return {
            path.relative_to(self.folder).as_posix() + ("/" if source.is_video and kind != "overlay" else ""): kind
            for source, paths in targets.items()
            for kind, path in paths.items()
        }

    def left_to_do(self, targets: dict[Source, dict[str, Path]]) -> dict[Source, dict[str, Path]]:
        """The sources that are not done, as `existing` says.

        Args:
            targets: As by `targets`.

        Raises:
            ConfigError: Files are there and must not be replaced: they are no predictions, or `existing` says so.
        """
        names = self.names_of(targets)
        self.manifest.refuse_foreign(names)
        for name in names:
            if name.endswith("/"):
                _refuse_other_than_frames(self.folder / name)
        there = [str(path) for paths in targets.values() for path in paths.values() if os.path.lexists(path)]
        if not there or self.existing == "replace":
            return targets
        if self.existing == "refuse":
            raise ConfigError(
                f"{len(there)} files to be written are already there: {few(there)}; choose another output,"
                " job.existing=skip to go on where an earlier command stopped, or job.existing=replace"
            )
        left = {s: paths for s, paths in targets.items() if not all(_is_done(path) for path in paths.values())}
        log.info("%d of %d inputs are already done", len(targets) - len(left), len(targets))
        return left

    def encoders(self) -> dict[str, Callable[[UInt8Array, Prediction], bytes]]:
        """The file of each kind, from a picture uint8 (H, W, 3) and what is seen in it."""
        palette = self.task.color_table
        every: dict[str, Callable[[UInt8Array, Prediction], bytes]] = {
            "index": lambda _, seen: png(seen.label),
            "palette": lambda _, seen: palette_png(seen.label, palette),
            "overlay": lambda image, seen: jpeg(self.overlaid(image, seen)),
            "confidence": lambda _, seen: confidence_png(seen),
            "probabilities": lambda _, seen: probabilities_npz(seen),
        }
        wanted = {kind: every[kind] for kind in self.kinds}
        if self.layout is not None:
            encode = layout_encoder(self.layout)
            wanted["layout"] = lambda _, seen: encode(seen.label)
        return wanted

    def overlaid(self, image: UInt8Array, seen: Prediction) -> UInt8Array:
        """The picture under the colors of its classes."""
        return overlay(image, seen.label, self.task.color_table, self.opacity)


def _refuse_other_than_frames(folder: Path) -> None:
    """Refuse to replace a folder of frames in which something else lies."""
    if folder.is_dir():
        foreign = next((path for path in sorted(folder.iterdir()) if not _FRAME.fullmatch(path.name)), None)
        if foreign is not None:
            raise ConfigError(f"{foreign} is no frame of a video and is left alone; choose another output")


def _is_done(path: Path) -> bool:
    """Whether a result is there, and a video is whole."""
    return os.path.exists(path) and (path.suffix != ".mp4" or path.is_dir() or is_whole_video(path))


def frame_names(suffix: str) -> Iterator[str]:
    """`frame_000000.png`, `frame_000001.png`, ..."""
    number = 0
    while True:
        yield f"frame_{number:06d}{suffix}"
        number += 1
