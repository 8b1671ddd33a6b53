"""How the cost of contrast, mutual loss, labelling and reading grows with what they are given.

python benchmarks/scaling.py
"""

import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch
import torch.nn.functional as F
from common import RESULTS, Contender, arguments, keep_freed_memory, write_record
from scaling_plot import draw
from torch import Tensor

from dmtc.batches import Loader, training_requests
from dmtc.config.compose import compose
from dmtc.data.augment import Augment
from dmtc.data.synthetic import synthetic
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.losses import DynamicMutualLoss, RegionalContrast
from dmtc.pseudo import PseudoLabelStore, label_images
from dmtc.schedule import Phase

SIDES = (81, 161, 321, 641)
LEAST_SECONDS = 0.1
"""What is quicker is timed several times at once."""


@dataclass(frozen=True)
class Sweep:
    """One factor: what grows, what stays, and the work at each value of what grows."""

    factor: str
    fixed: str
    points: Mapping[int, Contender]


def main() -> None:
    """Measure every sweep, and draw one page for each of the four parts."""
    given = arguments(__doc__)
    keep_freed_memory()
    torch.manual_seed(0)
    pages: dict[str, list[dict]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for page, sweeps in {
            "contrast": contrast_sweeps(),
            "mutual loss": mutual_sweeps(),
            "labelling": labelling_sweeps(Path(folder)),
            "reading": reading_sweeps(Path(folder)),
        }.items():
            pages[page] = [measured(page, sweep, given.repeats) for sweep in sweeps]
    write_record("scaling", {"pages": pages}, torch.device("cpu"))
    for page, sweeps in pages.items():
        draw(page, sweeps, RESULTS / f"scaling_{page.replace(' ', '_')}.png")


def measured(page: str, sweep: Sweep, repeats: int) -> dict:
    """Median seconds at each value, in turns, and the slope of their logarithms: 1 is growth in proportion.

    A fixed cost makes it less; how it goes on at large values is told by the slope between the last two.
    """
    counts = {}
    for value, work in sweep.points.items():
        work()
        counts[value] = max(1, round(LEAST_SECONDS / timed(work, 1)))
    turns = [{value: timed(work, counts[value]) for value, work in sweep.points.items()} for _ in range(repeats)]
    seconds = [statistics.median(turn[value] for turn in turns) for value in sweep.points]
    values = list(sweep.points)
    slope, last = slope_of(values, seconds), slope_of(values[-2:], seconds[-2:])
    told = ", ".join(f"{s:.3g} s" for s in seconds)
    print(f"{page}, {sweep.factor}: slope {slope:.2f}, between the last two {last:.2f}; {told}")
    return {
        "factor": sweep.factor,
        "fixed": sweep.fixed,
        "values": values,
        "seconds": seconds,
        "slope": round(slope, 3),
        "last_slope": round(last, 3),
    }


def timed(work: Contender, count: int) -> float:
    """Seconds of one of `count` repetitions."""
    started = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - started) / count


def slope_of(values: list[int], seconds: list[float]) -> float:
    """Of the straight line nearest to the points on logarithmic axes."""
    return statistics.linear_regression([math.log(v) for v in values], [math.log(s) for s in seconds]).slope


def maps(batch: int, side: int, classes: int) -> tuple[Tensor, Tensor]:
    """Logits at output stride 8, and labels with every class; a tenth of the pixels is ignored."""
    cells = side // 8 + 1
    blocks = torch.randint(classes, (batch, 1, 8, 8))
    label = F.interpolate(blocks.float(), (side, side)).long()[:, 0]
    label[torch.rand(label.shape) < 0.1] = 255
    return torch.randn(batch, classes, cells, cells).requires_grad_(), label


def contrast(batch: int = 4, side: int = 321, classes: int = 21, queries: int = 256, negatives: int = 512) -> Contender:
    """Forward and backward pass of regional contrast with 150 channels."""
    loss = RegionalContrast(
        temperature=0.5, queries=queries, negatives=negatives, strong_threshold=0.97, min_confidence=0.0
    )
    logits, label = maps(batch, side, classes)
    embedding = torch.randn(batch, 150, *logits.shape[-2:]).requires_grad_()
    return lambda: loss(embedding, logits, label).loss.backward()


def mutual(batch: int = 4, side: int = 321, classes: int = 21) -> Contender:
    """Forward and backward pass of the dynamic mutual loss."""
    loss = DynamicMutualLoss(gamma_agree=5.0, gamma_disagree=5.0)
    logits, label = maps(batch, side, classes)
    confidence, is_pseudo = torch.rand(label.shape), torch.ones(batch, dtype=torch.bool)
    return lambda: loss(logits, label, confidence, is_pseudo).loss.backward()


def contrast_sweeps() -> Iterator[Sweep]:
    """Of the maps, and of the comparisons that are made for each class."""
    keys = "256 queries, 512 negatives"
    yield Sweep("pixels of an image", f"4 images, 21 classes, {keys}", {s**2: contrast(side=s) for s in SIDES})
    yield Sweep("images", f"321x321 pixels, 21 classes, {keys}", {n: contrast(batch=n) for n in (1, 2, 4, 8, 16)})
    yield Sweep("classes", f"4 images of 321x321, {keys}", {n: contrast(classes=n) for n in (5, 10, 20, 40, 80)})
    numbers = [(64, 128), (128, 256), (256, 512), (512, 1024)]
    products = {q * n: contrast(queries=q, negatives=n) for q, n in numbers}
    yield Sweep("queries x negatives", "4 images of 321x321, 21 classes", products)


def mutual_sweeps() -> Iterator[Sweep]:
    """Of the maps."""
    yield Sweep("pixels of an image", "4 images, 21 classes", {s**2: mutual(side=s) for s in SIDES})
    yield Sweep("images", "321x321 pixels, 21 classes", {n: mutual(batch=n) for n in (1, 2, 4, 8, 16)})
    yield Sweep("classes", "4 images of 321x321", {n: mutual(classes=n) for n in (5, 10, 20, 40, 80)})


def labelling(folder: Path, images: int = 8, side: int = 321, classes: int = 21) -> Contender:
    """Everything of labelling but the network: class, confidence, storing, and thresholds at a ratio."""
    coarse = F.interpolate(torch.randn(4, classes, 6, 6) * 6, side // 8 + 1, mode="bicubic")
    logits = F.interpolate(coarse, (side, side), mode="bilinear", align_corners=True)
    blank = torch.zeros(4, 3, side, side, dtype=torch.uint8)
    batches = [([f"{first + i}" for i in range(4)], blank) for first in range(0, images, 4)]

    def work() -> None:
        store = PseudoLabelStore(folder / f"labels-{images}-{side}-{classes}")
        label_images(lambda _: logits, batches, store, classes)
        store.select(0.2)

    return work


def labelling_sweeps(folder: Path) -> Iterator[Sweep]:
    """Of the predictions, and of their number."""
    sides = {s**2: labelling(folder, side=s) for s in (161, 321, 641, 1281)}
    yield Sweep("pixels of an image", "8 images, 21 classes", sides)
    images = {n: labelling(folder, images=n) for n in (8, 16, 32, 64, 128)}
    yield Sweep("images", "321x321 pixels, 21 classes", images)
    classes = {n: labelling(folder, classes=n) for n in (5, 10, 20, 40, 80)}
    yield Sweep("classes", "8 images of 321x321", classes)


def reading(folder: Path, images: int = 16, side: int = 500, crop: int = 321) -> Contender:
    """An epoch of labelled crops in this process."""
    root = folder / f"pictures-{images}-{side}"
    if not root.is_dir():
        write_pictures(root, folder / "scenes", images, side)
    dataset = Components(settle(compose(["dataset=folder", f"dataset.root={root}"]))).dataset
    augment = Augment(crop=[crop, crop], scale=[0.5, 1.5], flip=0.5)
    loader = Loader(dataset, augment, workers=0, device=torch.device("cpu"))
    phase = Phase("r0-a", "start", "a", None, None, None, images // 4, 0.1, 4, 0, 1)

    def work() -> None:
        for _ in loader.crops(training_requests(phase, dataset.train, (), None, seed=0)):
            pass

    return work


def reading_sweeps(folder: Path) -> Iterator[Sweep]:
    """Of the pictures, of the crops, and of their number."""
    sides = {s**2: reading(folder, side=s) for s in (250, 500, 1000, 2000)}
    yield Sweep("pixels of an image", "16 images, crops of 321x321", sides)
    crops = {s**2: reading(folder, crop=s, side=1000) for s in (81, 161, 321, 641)}
    yield Sweep("pixels of a crop", "16 images of 1000x1000", crops)
    images = {n: reading(folder, images=n) for n in (8, 16, 32, 64, 128)}
    yield Sweep("images", "500x500 pixels, crops of 321x321", images)


def write_pictures(root: Path, scenes: Path, images: int, side: int) -> None:
    """JPEGs and masks of one size for training, and one more for validation."""
    source = synthetic(root=str(scenes), seed=0, train_images=8, val_images=1, size=500)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(images + 1):
        scene = source.train[number % len(source.train)]
        picture = cv2.resize(source.image(scene), (side, side), interpolation=cv2.INTER_LINEAR)
        mask = cv2.resize(source.mask(scene), (side, side), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(root / "images" / f"{number:04}.jpg"), picture)
        cv2.imwrite(str(root / "masks" / f"{number:04}.png"), mask)
    (root / "val.txt").write_text(f"{images:04}\n")


if __name__ == "__main__":
    main()
