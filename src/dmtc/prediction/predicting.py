"""Predicting image files and videos: reading, predicting and writing overlap."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from dmtc.batches import Loader
from dmtc.core.files import replacing_folder, write_atomically
from dmtc.core.types import UInt8Array
from dmtc.data import Dataset
from dmtc.data.faults import FileFault
from dmtc.data.georeference import Georeference, georeference_of
from dmtc.data.masks import IndexMasks
from dmtc.data.opening import has_orientation
from dmtc.data.task import Task
from dmtc.evaluation import Predictor
from dmtc.machine.cores import free_cores
from dmtc.prediction.arrays import Prediction, read_off
from dmtc.prediction.image_files import as_geotiff
from dmtc.prediction.outputs import GEOTIFF, SUFFIXES, Outputs, frame_names
from dmtc.prediction.sources import Source
from dmtc.prediction.videos import UNREADABLE_VIDEO, Video, writing_video
from dmtc.tracking.progress import Progress

log = logging.getLogger(__name__)

_LONGEST_NAME = 255
"""Maximum length of a file name in bytes, on all common file systems."""


@dataclass(slots=True)
class Predicted:
    """Summary of the files predicted.

    Attributes:
        images: Number of images predicted.
        videos: Number of videos predicted.
        frames: Number of frames in all videos.
        turned: Number of images with an orientation tag that was not followed.
        skipped: Unusable files.
        seconds: Duration.
    """

    images: int = 0
    videos: int = 0
    frames: int = 0
    turned: int = 0
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0


class FilePredictor:
    """Predicts files.

    Args:
        predict: The network or networks, as a predictor of whole images.
        outputs: The files to write.
        loader: Makes a loader for a data set that skips unreadable images.
        device: Device of the images for `predict`.
        batch: Maximum number of images of one size, or frames, per batch.
        upright: Whether to follow orientation tags of images.
        progress: Progress bars.
    """

    def __init__(
        self,
        predict: Predictor,
        outputs: Outputs,
        loader: Callable[[Dataset], Loader],
        *,
        device: torch.device,
        batch: int,
        upright: bool,
        progress: Progress,
    ) -> None:
        self._predict = predict
        self._outputs = outputs
        self._loader = loader
        self._device = device
        self._batch = batch
        self._upright = upright
        self._progress = progress

    def __call__(self, targets: dict[Source, dict[str, Path]]) -> Predicted:
        """Predict sources; each file gets its name once it is complete.

        Args:
            targets: The files of each source by kind, from `Outputs.targets`.

        Raises:
            OSError: A file cannot be written.
        """
        done, started = Predicted(), time.monotonic()
        for source in [one for one, paths in targets.items() if not all(map(_fits, paths.values()))]:
            log.warning("skipped: %s: its name is too long to name a result after it", source.path)
            done.skipped.append(str(source.path))
            targets = {one: paths for one, paths in targets.items() if one != source}
        images = [source for source in targets if not source.is_video]
        if images:
            self._progress.begin("predicting", len(images), "image")
            try:
                self._predict_images(images, targets, done)
            finally:
                self._progress.end()
        for source in targets:
            if source.is_video:
                self._predict_video(source, targets[source], done)
        done.seconds = time.monotonic() - started
        return done

    def _predict_images(
        self, images: Sequence[Source], targets: dict[Source, dict[str, Path]], done: Predicted
    ) -> None:
        dataset, sources = _as_dataset(images, self._outputs.task, self._upright)
        loader = self._loader(dataset)
        encoders = self._outputs.encoders()

        def write(source: Source, image: UInt8Array, prediction: Prediction) -> bool:
            for kind, path in targets[source].items():
                content = encoders[kind](image, prediction)
                if kind in SUFFIXES and path.suffix == GEOTIFF:
                    content = as_geotiff(content, georeference_of(source.path) or Georeference(()))
                write_atomically(path, content)
            return not self._upright and has_orientation(source.path)

        def count(turned: bool) -> None:
            done.images += 1
            done.turned += turned

        with _in_threads(write, count) as begin:
            for batch in loader.images(dataset.train, self._batch, with_mask=False):
                pictures = batch.image.permute(0, 2, 3, 1).cpu().numpy()
                for id, image, prediction in zip(batch.ids, pictures, self._predictions(batch.image), strict=True):
                    begin(sources[id], image, prediction)
                self._progress.advance(len(batch.ids))
        done.skipped += [str(sources[id].path) for id in loader.take_skipped()]

    def _predict_video(self, source: Source, targets: dict[str, Path], done: Predicted) -> None:
        try:
            with Video(source.path) as video:
                self._progress.begin(source.path.name, video.facts.frames, "frame")
                try:
                    frames = self._predict_frames(video, targets)
                finally:
                    self._progress.end()
            expected = video.facts.frames
        except FileFault as error:
            log.warning("skipped: %s", error)
            done.skipped.append(str(source.path))
            return
        if frames < expected:
            log.warning("%s ended after %d of %d frames; the file may be cut off", source.path, frames, expected)
        done.videos += 1
        done.frames += frames

    def _predict_frames(self, video: Video, targets: dict[str, Path]) -> int:
        encoders = self._outputs.encoders()
        count = 0
        with ExitStack() as stack:
            batches = video.batches(self._batch)
            first = next(batches, None)
            if first is None:
                raise FileFault(f"{video.path}: cannot be read as a video, it has no frames", UNREADABLE_VIDEO)
            names, folders, overlay = {}, {}, None
            for kind, path in targets.items():
                if kind == "overlay":
                    height, width = first[0].shape[:2]
                    overlay = stack.enter_context(writing_video(path, video.facts.rate, height, width))
                else:
                    folders[kind] = stack.enter_context(replacing_folder(path))
                    names[kind] = frame_names(SUFFIXES[kind])
            for batch in _with_first(first, batches):
                images = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).to(self._device)
                for image, prediction in zip(batch, self._predictions(images), strict=True):
                    for kind, folder in folders.items():
                        (folder / next(names[kind])).write_bytes(encoders[kind](image, prediction))
                    if overlay is not None:
                        overlay.write(self._outputs.overlaid(image, prediction))
                count += len(batch)
                self._progress.advance(len(batch))
        return count

    def _predictions(self, images: torch.Tensor) -> list[Prediction]:
        with torch.inference_mode():
            return read_off(self._predict(images), every="probabilities" in self._outputs.kinds)


def _as_dataset(images: Sequence[Source], task: Task, upright: bool) -> tuple[Dataset, dict[str, Source]]:
    """A data set of the images, without masks, and the source of each id."""
    sources = {f"{number:09d}": source for number, source in enumerate(images)}  # file names may not be valid ids
    dataset = Dataset(
        name="input",
        classes=task.classes,
        palette=task.palette,
        images={id: source.path for id, source in sources.items()},
        masks={},
        train=tuple(sources),
        val=(),
        decode_mask=IndexMasks(),
        reader=task.reader,
        decode_image=partial(task.reader, upright=upright),
    )
    return dataset, sources


def _fits(path: Path) -> bool:
    return len(os.fsencode(path.name)) <= _LONGEST_NAME


def _with_first(first: list[UInt8Array], rest: Iterator[list[UInt8Array]]) -> Iterator[list[UInt8Array]]:
    yield first
    yield from rest


@contextmanager
def _in_threads(work: Callable[..., bool], done: Callable[[bool], None]) -> Iterator[Callable[..., None]]:
    """Work in threads, as encoding releases the GIL; limits the backlog, as waiting results take memory.

    Args:
        work: Called in a thread.
        done: Called in this thread with each result of `work`, in the order of submission.
    """
    threads = min(4, free_cores())
    waiting: deque[Future[bool]] = deque()
    with ThreadPoolExecutor(threads) as pool:

        def begin(*arguments: object) -> None:
            while len(waiting) >= 2 * threads:
                done(waiting.popleft().result())
            waiting.append(pool.submit(work, *arguments))

        try:
            yield begin
            while waiting:
                done(waiting.popleft().result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
