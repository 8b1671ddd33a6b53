"""Reading a JPEG with its pseudo-label into an augmented 321x321 crop, against DMT's data set.

In one thread, also with the images kept decoded, or in one process of a loader that hands batches over.

python benchmarks/loader.py --threads 1 --reference CHECKOUT_OF_DST-CBC [--handed-over]
"""

import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from common import LENT, Contender, answer, apart, arguments, keep_freed_memory, write
from torch.utils.data import DataLoader

from dmtc.batches import CropRequest, Loader, Reader
from dmtc.data import Dataset
from dmtc.data.augment import Augment
from dmtc.data.cache import ImageCache
from dmtc.pseudo import PseudoLabels, PseudoLabelStore, label_images
from published import PSEUDO_LABELS, SIZE, blurred_predictions, folder_bytes, published_images, voc, write_voc

IMAGES, BATCH, CROP, CLASSES, RATIO = 64, 8, 321, 21, 0.4
CACHED = "ours, image cache"


def main() -> None:
    """Measure both on the same images and pseudo-labels; DMT as it is, and once more with our allocator setting."""
    flags = {"handed-over": "through one process of a loader, in batches"}
    given = arguments(__doc__, flags, reference="checkout of voldemortX/DST-CBC")
    if given.contender != "DMT":
        keep_freed_memory()
    cv2.setNumThreads(0)  # as in the loader's processes; PyTorch's own has one thread there too
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "VOC2012"
        ids = write_voc(root, IMAGES)
        labels = predicted(Path(folder) / "store", ids)
        sizes = {"ours": folder_bytes(labels.folder)}
        if given.reference:
            write_published(root, ids, labels)
            sizes["DMT"] = folder_bytes(root / PSEUDO_LABELS)
        if name := given.contender:
            if name.startswith("ours"):
                kept = {"decode_image": ImageCache(Path(folder) / "cache")} if name == CACHED else {}
                work = ours(replace(voc(root), **kept), ids, labels, given.handed_over)
            else:
                work = published(given.reference, root, given.handed_over)
            answer(work)
            return
        jpeg_bytes = folder_bytes(root / "JPEGImages") // (IMAGES + 1)
    setting = {"images": IMAGES, "size": SIZE, "crop": CROP, "jpeg_bytes": jpeg_bytes}
    setting |= {"batch": BATCH} if given.handed_over else {}
    setting |= {"milliseconds": "of one image: seconds / images * 1000"}
    names = ["ours", *([] if given.handed_over else [CACHED])]
    names += ["DMT", f"DMT{LENT}"] if given.reference else []
    measured, _ = apart(names, given.repeats)
    write("loader_process" if given.handed_over else "loader", setting, measured, bytes_on_disk=sizes)


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


def ours(dataset: Dataset, ids: list[str], labels: PseudoLabels, handed_over: bool) -> Contender:
    """The reader that runs in each loader process, or the loader with one process."""
    loader = Loader(dataset, augment(), workers=int(handed_over), device=torch.device("cpu"))
    reader, epoch = Reader(dataset, augment()), itertools.count()

    def requests() -> list[CropRequest]:
        number = next(epoch)
        return [CropRequest(id, labels, (0, number, index)) for index, id in enumerate(ids)]

    def read() -> None:
        for request in requests():
            reader[request]

    def receive() -> None:
        for batch in loader.crops(batches(requests())):
            touch(batch.image, batch.label, batch.confidence)

    return receive if handed_over else read


def batches(requests: list[CropRequest]) -> list[list[CropRequest]]:
    """The requests of every step."""
    return [requests[first : first + BATCH] for first in range(0, len(requests), BATCH)]


def augment() -> Augment:
    """As published."""
    return Augment(crop=[CROP, CROP], scale=[0.5, 1.5], flip=0.5)


def write_published(root: Path, ids: list[str], labels: PseudoLabels) -> None:
    """The pseudo-labels in DMT's format."""
    (root / PSEUDO_LABELS).mkdir()
    for id in ids:
        np.save(root / PSEUDO_LABELS / f"{id}.npy", np.stack(labels.read(id), axis=-1).astype(np.float32))


def published(checkout: Path, root: Path, handed_over: bool) -> Contender:
    """DMT's data set with its transforms, image by image or in batches by a process that stays."""
    images = published_images(
        checkout,
        root,
        lambda t: [
            t.RandomScale(min_scale=0.5, max_scale=1.5),
            t.RandomCrop(size=(CROP, CROP)),
            t.RandomHorizontalFlip(flip_prob=0.5),
        ],
        labelled=True,
    )
    loader = DataLoader(images, batch_size=BATCH, num_workers=int(handed_over), persistent_workers=handed_over)

    def read() -> None:
        for index in range(IMAGES):
            images[index]

    def receive() -> None:
        for batch in loader:
            touch(*batch)

    return receive if handed_over else read


def touch(*tensors: torch.Tensor) -> None:
    """Look at every page, as a copy to a device would."""
    for tensor in tensors:
        tensor.reshape(-1)[:: 4096 // tensor.element_size()].sum()


if __name__ == "__main__":
    main()
