"""The labelling pass: the teacher predicts all unlabelled images once and fills a pseudo-label store."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from dmtc.core.errors import DataError
from dmtc.core.levels import LEVELS, confidence_histogram, level_of
from dmtc.machine.processes import ALONE, Processes
from dmtc.pseudo.store import PseudoLabelStore

_WRITERS = 2
"""Threads that copy predictions from the device, count, compress and write them during the next forward pass."""


def predict_with_log_odds(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The most probable class of every pixel and the log-odds of its probability.

    Args:
        logits: Any floating type, (B, C, H, W).

    Returns:
        label int64 (B, H, W) and log-odds float32 (B, H, W). The log-odds are computed from the other classes' logits,
        as in float32 the probability is exactly 1 above log-odds of about 17.

    Examples:
        >>> predict_with_log_odds(torch.tensor([[[[3.0]], [[1.0]]]]))
        (tensor([[[0]]]), tensor([[[2.]]]))
    """
    logits = logits.float()
    highest, label = logits.max(dim=1, keepdim=True)
    others = logits.scatter(1, label, -torch.inf).logsumexp(dim=1, keepdim=True)
    return label.squeeze(1), (highest - others).squeeze(1)


def label_images(
    predict: Callable[[Tensor], Tensor],
    batches: Iterable[tuple[list[str], Tensor]],
    store: PseudoLabelStore,
    num_classes: int,
    progress: Callable[[int], None] = lambda images: None,
    processes: Processes = ALONE,
    teacher: str | None = None,
    adopted: PseudoLabelStore | None = None,
) -> None:
    """Fill a store with a teacher's predictions; memory use does not grow with the number of images.

    Args:
        predict: The teacher: uint8 (B, 3, H, W) -> logits (B, C, H, W), without gradient.
        batches: Ids and uint8 images (B, 3, H, W) on the teacher's device; all images of a batch have the same size.
        store: Receives the predictions; marked complete at the end.
        num_classes: C.
        progress: Called with the number of images of each batch.
        processes: The processes that fill the store together, each with its own batches.
        teacher: SHA-256 of its weights, stored with the predictions.
        adopted: Complete predictions of other images by another teacher, which become part of the store.

    Raises:
        DataError: There are no batches, as no image could be read.

    Examples:
        A teacher that predicts class 0 for dark pixels and class 1 for bright ones:

        >>> from tempfile import mkdtemp
        >>> def teacher(images):
        ...     bright = images[:, :1].float() / 255
        ...     return torch.cat([1 - bright, bright], dim=1)
        >>> images = torch.tensor([[60, 200]], dtype=torch.uint8).expand(1, 3, 1, 2)
        >>> store = PseudoLabelStore(mkdtemp())
        >>> label_images(teacher, [(["street"], images)], store, num_classes=2)
        >>> store.select(label_ratio=1.0).read("street")[0]
        array([[0, 1]], dtype=uint8)
    """
    started, cpu_started = time.perf_counter(), time.process_time()
    histogram = torch.zeros(num_classes, LEVELS, dtype=torch.int64)
    images = 0

    def keep(ids: list[str], label: Tensor, level: Tensor) -> Tensor:
        label, level = label.cpu(), level.cpu()  # waits for the device in this thread, not where passes are launched
        for id, *prediction in zip(ids, label.numpy(), level.numpy().view(np.uint16), strict=True):
            store.write(id, *prediction)
        return confidence_histogram(label, level, num_classes)

    with ThreadPoolExecutor(max_workers=_WRITERS) as writers:
        backlog: deque[Future[Tensor]] = deque()
        for ids, image in batches:
            label, log_odds = predict_with_log_odds(predict(image))
            # Both types are at most a quarter the size of those computed in, so there is less to copy from the device.
            prediction = label.to(torch.uint8), level_of(log_odds).to(torch.int16)
            backlog.append(writers.submit(keep, ids, *prediction))
            while len(backlog) > 2 * _WRITERS:  # bounds memory if writing is slower
                histogram += backlog.popleft().result()
            images += len(ids)
            progress(len(ids))
        for kept in backlog:
            histogram += kept.result()
    cpu_seconds = float(processes.all_reduce(torch.tensor(time.process_time() - cpu_started)))
    histogram, images = processes.all_reduce(histogram), int(processes.all_reduce(torch.tensor(images)))
    if not images and adopted is None:
        raise DataError("none of the unlabelled images can be read")

    def finish() -> None:
        facts, levels, others = {}, histogram.numpy(), 0
        if adopted is not None:
            store.adopt(adopted)
            levels, others = levels + adopted.histogram(), int(adopted.facts()["images"])
            facts = {"adopted": adopted.sha256(), "adopted_images": others}
        store.finish(
            levels,
            images=images + others,
            seconds=round(time.perf_counter() - started, 3),
            cpu_seconds=round(cpu_seconds, 3),
            bytes=store.size_bytes(),
            teacher=teacher,
            **facts,
        )

    processes.broadcast(finish)
