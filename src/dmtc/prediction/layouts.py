"""Layouts of predictions for test servers. To add one, register a class in `LAYOUTS`."""

import re
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from dmtc.core.errors import ConfigError, DataError
from dmtc.core.registry import Registry
from dmtc.core.types import UInt8Array
from dmtc.data import cityscapes, voc
from dmtc.data.dataset import few
from dmtc.data.task import Task
from dmtc.prediction.image_files import palette_png, png
from dmtc.prediction.sources import Source


class Layout(Protocol):
    """The paths and the format of masks that a server expects."""

    classes: Sequence[str]
    """The classes that a network must have, in index order."""

    def path(self, source: Source) -> str | None:
        """Path of an image's mask within the output folder; None if the server does not know the image."""
        ...

    def encode(self, label: UInt8Array) -> bytes:
        """The file for a label uint8 (H, W)."""
        ...


LAYOUTS: Registry[Layout] = Registry("layout")


@LAYOUTS.register("cityscapes")
class CityscapesLayout:
    """The Cityscapes benchmark: label ids, all masks in one folder, named by city, sequence and frame."""

    classes = tuple(cityscapes.CLASSES)

    _name = re.compile(r"[^/]+_\d{6}_\d{6}(?=$|_leftImg8bit$)")

    def __init__(self) -> None:
        self._label_ids = np.zeros(256, np.uint8)
        self._label_ids[: len(cityscapes.LABEL_IDS)] = cityscapes.LABEL_IDS

    def path(self, source: Source) -> str | None:
        """`cityscapes/<city>_<sequence>_<frame>_pred_labelIds.png`."""
        found = self._name.match(source.path.stem)
        return f"cityscapes/{found[0]}_pred_labelIds.png" if found else None

    def encode(self, label: UInt8Array) -> bytes:
        """An 8-bit PNG of label ids."""
        return png(self._label_ids[label])


@LAYOUTS.register("voc")
class VocLayout:
    """The VOC 2012 segmentation challenge, competition 6 (any training data): palette files named by image id."""

    classes = voc.CLASSES

    _name = re.compile(r"\d{4}_\d{6}$")

    def path(self, source: Source) -> str | None:
        """`results/VOC2012/Segmentation/comp6_test_cls/<id>.png`."""
        found = self._name.match(source.path.stem)
        return f"results/VOC2012/Segmentation/comp6_test_cls/{found[0]}.png" if found else None

    def encode(self, label: UInt8Array) -> bytes:
        """A palette PNG in VOC's colors."""
        return palette_png(label, voc.voc_palette(256))


def layout_paths(name: str, task: Task, sources: Sequence[Source]) -> dict[Source, str]:
    """Path of each source's mask in a layout.

    Raises:
        ConfigError: The networks have other classes.
        DataError: Sources are not named like the server's images, or two have the name of the same image.
    """
    layout = LAYOUTS.build({"name": name}, "job.layout")
    if tuple(task.classes) != tuple(layout.classes):
        raise ConfigError(
            f"job.layout={name} is for networks of its {len(layout.classes)} classes ({', '.join(layout.classes[:3])},"
            f" ...), but the run is on {task.dataset} with {task.num_classes} ({', '.join(task.classes[:3])}, ...)"
        )
    paths = {source: None if source.is_video else layout.path(source) for source in sources}
    unknown = [str(source.path) for source, path in paths.items() if path is None]
    if unknown:
        raise DataError(
            f"job.layout={name}: {len(unknown)} of {len(sources)} inputs are not named like its test images:"
            f" {few(unknown)}; use a folder of only test images, or leave out job.layout"
        )
    known = {source: path for source, path in paths.items() if path is not None}
    if len(set(known.values())) < len(known):
        raise DataError(f"job.layout={name}: several inputs stand for the same test image; list each once")
    return known


def layout_encoder(name: str) -> Callable[[UInt8Array], bytes]:
    """The function that encodes a mask in a layout's format."""
    return LAYOUTS.build({"name": name}, "job.layout").encode
