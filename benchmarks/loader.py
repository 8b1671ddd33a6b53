"""Reading a JPEG with its pseudo-label into an augmented 321x321 crop, against DMT's data set, in one process.

python benchmarks/loader.py --reference CHECKOUT_OF_DST-CBC
"""

import itertools
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import Contender, arguments, seconds, write

from dmtc.batches import CropRequest, Reader
from dmtc.data import DATASETS
from dmtc.data.augment import Augment
from dmtc.pseudo import PseudoLabelStore, label_images
from published import SIZE, blurred_predictions, import_dmt, write_voc

IMAGES, CROP, CLASSES, RATIO = 64, 321, 21, 0.4


def main() -> None:
    """Measure both on the same images and pseudo-labels."""
    given = arguments(__doc__, reference="checkout of voldemortX/DST-CBC")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "VOC2012"
        ids = write_voc(root, IMAGES)
        store = PseudoLabelStore(Path(folder) / "store")
        logits = torch.nn.functional.interpolate(
            blurred_predictions(IMAGES, CLASSES), SIZE, mode="bilinear", align_corners=True
        )
        blank = torch.zeros(1, 3, *SIZE, dtype=torch.uint8)
        predictions = iter(logits.split(1))
        label_images(lambda _: next(predictions), (([id], blank) for id in ids), store, CLASSES)
        contenders = {"ours": ours(root, ids, store)}
        if given.reference:
            contenders["DMT"] = published(given.reference, root, ids, store)
        measured = seconds(contenders, given.repeats)
    setting = {"images": IMAGES, "size": SIZE, "crop": CROP, "milliseconds": "of one image: seconds / images * 1000"}
    write("loader", setting, measured)


def ours(root: Path, ids: list[str], store: PseudoLabelStore) -> Contender:
    """The reader that runs in each loader process."""
    dataset = DATASETS.build({"name": "voc", "root": str(root), "masks": "SegmentationClassAug", "unlabelled": None})
    reader = Reader(dataset, Augment(crop=[CROP, CROP], scale=[0.5, 1.5], flip=0.5))
    labels = store.select(RATIO)
    epoch = itertools.count()

    def work() -> None:
        number = next(epoch)
        for index, id in enumerate(ids):
            reader[CropRequest(id, labels, (0, number, index))]

    return work


def published(checkout: Path, root: Path, ids: list[str], store: PseudoLabelStore) -> Contender:
    """DMT's data set with its transforms; the pseudo-labels are ours in its format."""
    import_dmt(checkout)
    from utils.common import imagenet_mean, imagenet_std
    from utils.datasets import StandardSegmentationDataset
    from utils.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip, RandomScale, ToTensor

    folder = root / "SegmentationClassAugPseudo"
    os.makedirs(folder, exist_ok=True)
    labels = store.select(RATIO)
    for id in ids:
        np.save(folder / f"{id}.npy", np.stack(labels.read(id), axis=-1).astype(np.float32))
    transform = Compose(
        [
            ToTensor(keep_scale=False, reverse_channels=False),
            RandomScale(min_scale=0.5, max_scale=1.5),
            RandomCrop(size=(CROP, CROP)),
            RandomHorizontalFlip(flip_prob=0.5),
            Normalize(mean=imagenet_mean, std=imagenet_std),
        ]
    )
    images = StandardSegmentationDataset(
        root=str(root),
        data_set="voc",
        mask_type=".npy",
        image_set="50_unlabeled_0",
        transforms=transform,
        label_state=1,
    )

    def work() -> None:
        for index in range(len(images)):
            images[index]

    return work


if __name__ == "__main__":
    main()
