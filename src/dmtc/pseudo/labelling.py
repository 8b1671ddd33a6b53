"""The labelling pass: one forward pass of the teacher over the unlabelled images fills a pseudo-label store."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from dmtc.errors import DataError
from dmtc.processes import ALONE, Processes
from dmtc.pseudo.selection import LEVELS, confidence_histogram, level_of
from dmtc.pseudo.store import PseudoLabelStore


def predict_with_log_odds(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The surest class of every pixel and the log-odds of its probability.

    Args:
        logits: Float of any precision, (B, C, H, W).

    Returns:
        label int64 (B, H, W) and log-odds float32 (B, H, W). The log-odds come from the other classes' logits and not
        from the probability: in float32 that is exactly 1 from about 17 units of log-odds on.
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
) -> None:
    """Fill a store with a teacher's predictions; memory does not grow with the number of images.

    Args:
        predict: Teacher: uint8 (B, 3, H, W) -> logits (B, C, H, W), without gradient.
        batches: Ids and uint8 images (B, 3, H, W) on the teacher's device; images of one batch have one size.
        store: Where the predictions go; marked complete at the end.
        num_classes: C.
        progress: Called with the number of images just labelled.
        processes: Which fill the store together, each with the images of its own batches.

    Raises:
        DataError: There is not one batch, as no image could be read.
    """
    started = time.perf_counter()
    histogram: Tensor | None = None
    images = 0
    # Compressing and writing happen beside the next forward pass; a bounded backlog keeps memory constant.
    with ThreadPoolExecutor(max_workers=2) as writers:
        backlog: list[Future[None]] = []
        for ids, image in batches:
            label, log_odds = predict_with_log_odds(predict(image))
            level = level_of(log_odds)
            counts = confidence_histogram(label, level, num_classes)
            histogram = counts if histogram is None else histogram + counts
            labels = label.to(torch.uint8).cpu().numpy()
            levels = level.cpu().numpy().astype(np.uint16)
            backlog += [writers.submit(store.write, *item) for item in zip(ids, labels, levels, strict=True)]
            while len(backlog) > 4 * len(ids):
                backlog.pop(0).result()
            images += len(ids)
            progress(len(ids))
        for job in backlog:
            job.result()
    counted = torch.zeros(num_classes, LEVELS, dtype=torch.int64) if histogram is None else histogram.cpu()
    total, images = processes.sum(counted), int(processes.sum(torch.tensor(images)))
    if images == 0:
        raise DataError("none of the unlabelled images can be read, so there is nothing to label")
    processes.first_says(
        lambda: store.finish(
            total.numpy(),
            images=images,
            seconds=round(time.perf_counter() - started, 3),
            bytes=store.size_bytes(),
        )
    )
