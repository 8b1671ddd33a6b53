"""Pseudo-labels as files: masks that `dataset=folder` reads, ignored where the confidence is low, and COCO polygons."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch

from dmtc.core.errors import ConfigError, DataError
from dmtc.core.files import write_atomically
from dmtc.core.types import IGNORE_INDEX, UInt8Array
from dmtc.data.dataset import few
from dmtc.data.folder.class_lists import class_list_yaml
from dmtc.data.masks import IndexMasks
from dmtc.data.task import Task
from dmtc.engine.components import Components
from dmtc.prediction.arrays import Prediction
from dmtc.prediction.image_files import palette_png
from dmtc.prediction.of_run import PredictionOptions, predict_run
from dmtc.prediction.outputs import Existing, Outputs
from dmtc.prediction.polygons import polygons_of
from dmtc.prediction.predicting import Predicted
from dmtc.prediction.sources import Source, find_sources
from dmtc.run.folder import RunFolder

Format = Literal["masks", "coco"]

_CLASSES, _COCO = "classes.yaml", "annotations.json"


@dataclass(frozen=True, kw_only=True)
class LabelOutputs(Outputs):
    """The masks of a labelling job, and its counts.

    Attributes:
        threshold: Pixels of lower confidence are ignored.
        counts: int64 (2, C): of each class, the predicted pixels and those that are kept.

    Raises:
        ConfigError: The threshold is no probability.
    """

    kinds: Sequence[str] = ("masks",)
    opacity: float = 0.0
    layout: str | None = None
    threshold: float
    counts: np.ndarray = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    known: ClassVar[Sequence[str]] = ("masks",)
    job: ClassVar[str] = "label"
    record: ClassVar[str] = "labels.json"
    beside: ClassVar[Sequence[str]] = (_CLASSES, _COCO)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"job.threshold should be in [0, 1], but is {self.threshold}")
        object.__setattr__(self, "counts", np.zeros((2, self.task.num_classes), np.int64))

    def settings(self) -> dict[str, Any]:
        """See `Outputs`."""
        return {"threshold": self.threshold}

    def targets(self, sources: Sequence[Source]) -> dict[Source, dict[str, Path]]:
        """See `Outputs`.

        Raises:
            DataError: There are videos.
        """
        videos = [str(source.path) for source in sources if source.is_video]
        if videos:
            raise DataError(
                f"job=label takes images, but {few(videos)} {'is a video' if len(videos) == 1 else 'are videos'}; leave"
                " videos out of input, or save their frames as images"
            )
        return super().targets(sources)

    def encoders(self) -> dict[str, Callable[[UInt8Array, Prediction], bytes]]:
        """See `Outputs`."""
        return {"masks": lambda _, prediction: palette_png(self._kept(prediction), self.task.color_table)}

    def _kept(self, prediction: Prediction) -> UInt8Array:
        label = np.where(prediction.confidence >= self.threshold, prediction.label, np.uint8(IGNORE_INDEX))
        counts = [np.bincount(of.ravel(), minlength=256)[: self.task.num_classes] for of in (prediction.label, label)]
        with self._lock:  # images are encoded in several threads
            self.counts[:] += counts
        return label


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """What a labelling job did.

    Attributes:
        done: The files predicted.
        classes: Class names in index order.
        counts: int64 (2, C): of each class, the predicted pixels and those that are kept.
    """

    done: Predicted
    classes: Sequence[str]
    counts: np.ndarray


def label_files(
    components: Components,
    folder: RunFolder,
    inputs: Sequence[str],
    output: Path,
    options: PredictionOptions,
    *,
    threshold: float,
    format: Format,
    existing: Existing,
) -> Labelled:
    """Label images with the networks of a run: writes `masks/NAME.png`, `classes.yaml`, and COCO's polygons if asked.

    Args:
        components: The run's components.
        folder: The run's folder.
        inputs: As in `find_sources`.
        output: The folder to write.
        options: The networks to use, and their options.
        threshold: Pixels of lower confidence are ignored.
        format: "masks", or "coco" to write polygons besides.
        existing: What to do about existing masks.

    Raises:
        ConfigError: A setting is out of range, or existing files must not be replaced or have other settings.
        DataError: There are no images in the input, or videos.
        WeightsError: The run does not have the weights yet.
    """
    if format not in get_args(Format):
        raise ConfigError(f"job.format should be {' or '.join(get_args(Format))}, but is {format!r}")
    task = components.task
    outputs = LabelOutputs(folder=output, task=task, existing=existing, threshold=threshold)
    done = predict_run(components, folder, inputs, outputs, options)
    counts = components.processes.all_reduce(torch.from_numpy(outputs.counts)).numpy()

    def finish() -> None:
        outputs.manifest.record(outputs.beside)
        write_atomically(output / _CLASSES, class_list_yaml(task.classes, task.palette.tolist()))
        if format == "coco":
            write_atomically(output / _COCO, json.dumps(_coco(outputs, find_sources(inputs, output), task)) + "\n")
        else:
            for path in outputs.manifest.own([_COCO]):
                path.unlink()  # of an earlier command, whose masks these are not
        outputs.manifest.forget_gone()

    components.processes.broadcast(finish)
    return Labelled(done=done, classes=task.classes, counts=counts)


def _coco(outputs: LabelOutputs, sources: Sequence[Source], task: Task) -> dict[str, Any]:
    """The masks as COCO's instances: a polygon for every connected part of a class."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for source, paths in outputs.targets(sources).items():
        if not paths["masks"].exists():
            continue  # the image could not be read
        mask = IndexMasks()(paths["masks"])
        number, suffix = len(images) + 1, source.path.suffix
        name = source.name if source.name.endswith(suffix) else f"{source.name}{suffix}"
        images.append({"id": number, "file_name": name, "height": mask.shape[0], "width": mask.shape[1]})
        for value in np.unique(mask[mask != IGNORE_INDEX]).tolist():
            for points, area in polygons_of(mask == value):
                xs, ys = zip(*points, strict=True)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": value + 1,
                        "segmentation": [[coordinate for point in points for coordinate in point]],
                        "area": area,
                        "bbox": [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)],
                        "iscrowd": 0,
                    }
                )
    categories = [{"id": value + 1, "name": name} for value, name in enumerate(task.classes)]
    return {"images": images, "annotations": annotations, "categories": categories}
