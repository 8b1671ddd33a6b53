"""Reading a JPEG with its pseudo-label into an augmented 321x321 crop, against DMT's data set.

First in one thread, also with the images kept decoded; then in one process of a loader that hands batches over.

python benchmarks/loader.py --threads 1 --reference CHECKOUT_OF_DST-CBC
"""

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from common import Contender, arguments, keep_freed_memory, seconds, write
from torch.utils.data import DataLoader

from dmtc.batches import CropRequest, Loader, Reader
from dmtc.data import Dataset
from dmtc.data.augment import Augment
from dmtc.data.cache import ImageCache
from dmtc.pseudo import PseudoLabels, PseudoLabelStore, label_images
from published import PSEUDO_LABELS, SIZE, blurred_predictions, folder_bytes, published_images, voc, write_voc

IMAGES, BATCH, CROP, CLASSES, RATIO = 64, 8, 321, 21, 0.4


def main() -> None:
    """Measure both on the same images and pseudo-labels."""
    given = arguments(__doc__, reference="checkout of voldemortX/DST-CBC")
    keep_freed_memory()
    cv2.setNumThreads(0)  # as in the loader's processes; PyTorch's own has one thread there too
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "VOC2012"
        ids = write_voc(root, IMAGES)
        dataset = voc(root)
        labels = predicted(Path(folder) / "store", ids)
        cached = replace(dataset, decode_image=ImageCache(Path(folder) / "cache"))
        contenders = {"ours": ours(dataset, ids, labels), "ours, image cache": ours(cached, ids, labels)}
        processes = {"ours": ours_handed_over(dataset, ids, labels)}
        if given.reference:
            theirs = published(given.reference, root, ids, labels)
            contenders["DMT"], processes["DMT"] = in_turn(theirs), handed_over(theirs)
        setting = {
            "images": IMAGES,
            "size": SIZE,
            "crop": CROP,
            "jpeg_bytes": folder_bytes(root / "JPEGImages") // (IMAGES + 1),
            "milliseconds": "of one image: seconds / images * 1000",
        }
        sizes = {"ours": folder_bytes(labels.folder)}
        if given.reference:
            sizes["DMT"] = folder_bytes(root / PSEUDO_LABELS)
        write("loader", setting, seconds(contenders, given.repeats), bytes_on_disk=sizes)
        write("loader_process", {**setting, "batch": BATCH}, seconds(processes, given.repeats))


def predicted(folder: Path, ids: list[str]) -> PseudoLabels:
    """What a teacher may think of every image."""
    store = PseudoLabelStore(folder)
    logits = torch.nn.functional.interpolate(
        blurred_predictions(IMAGES, CLASSES), SIZE, mode="bilinear", align_corners=True
    )
    blank = torch.zeros(1, 3, *SIZE, dtype=torch.uint8)
    predictions = iter(logits.split(1))
    label_images(lambda _: next(predictions), (([id], blank) for id in ids), store, CLASSES)
    return store.select(RATIO)


def ours(dataset: Dataset, ids: list[str], labels: PseudoLabels) -> Contender:
    """The reader that runs in each loader process."""
    reader = Reader(dataset, augment())
    epoch = itertools.count()

    def work() -> None:
        number = next(epoch)
        for index, id in enumerate(ids):
            reader[CropRequest(id, labels, (0, number, index))]

    return work


def ours_handed_over(dataset: Dataset, ids: list[str], labels: PseudoLabels) -> Contender:
    """The loader with one process."""
    loader = Loader(dataset, augment(), workers=1, device=torch.device("cpu"))
    epoch = itertools.count()

    def steps() -> Iterator[list[CropRequest]]:
        number = next(epoch)
        for first in range(0, len(ids), BATCH):
            yield [CropRequest(id, labels, (0, number, id)) for id in ids[first : first + BATCH]]

    return lambda: [touch(batch.image, batch.label, batch.confidence) for batch in loader.crops(steps())]


def augment() -> Augment:
    """As published."""
    return Augment(crop=[CROP, CROP], scale=[0.5, 1.5], flip=0.5)


def published(checkout: Path, root: Path, ids: list[str], labels: PseudoLabels) -> torch.utils.data.Dataset:
    """DMT's data set with its transforms; the pseudo-labels are ours in its format."""
    (root / PSEUDO_LABELS).mkdir()
    for id in ids:
        np.save(root / PSEUDO_LABELS / f"{id}.npy", np.stack(labels.read(id), axis=-1).astype(np.float32))
    return published_images(
        checkout,
        root,
        lambda t: [
            t.RandomScale(min_scale=0.5, max_scale=1.5),
            t.RandomCrop(size=(CROP, CROP)),
            t.RandomHorizontalFlip(flip_prob=0.5),
        ],
        labelled=True,
    )


def in_turn(images: torch.utils.data.Dataset) -> Contender:
    """One image after the other, in this thread."""

    def work() -> None:
        for index in range(IMAGES):
            images[index]

    return work


def handed_over(images: torch.utils.data.Dataset) -> Contender:
    """In batches, by a process that stays."""
    loader = DataLoader(images, batch_size=BATCH, num_workers=1, persistent_workers=True)
    return lambda: [touch(*batch) for batch in loader]


def touch(*tensors: torch.Tensor) -> None:
    """Look at every page, as a copy to a device would."""
    for tensor in tensors:
        tensor.reshape(-1)[:: 4096 // tensor.element_size()].sum()


if __name__ == "__main__":
    main()
