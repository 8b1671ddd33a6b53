"""What labelling within the step costs: `fixmatch_ema` against `supervised` with as many student images, on the CPU.

Beside it: the same step without its teacher, and without mixing and colors; and the views of UniMatch V2 made its way,
with Pillow in the loader, against ours, from decoded images on.

python benchmarks/online.py --threads 1
"""

import functools
import tempfile
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from common import arguments, keep_freed_memory, seconds, write
from PIL import Image, ImageFilter
from torchvision.transforms import ColorJitter

import dmtc
from dmtc.batches.mixing import NoMixing
from dmtc.core.randomness import generator_of
from dmtc.core.types import IGNORE_INDEX, Batch, Sample
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.engine.networks import Networks
from dmtc.engine.new_step import new_step, showing_of
from dmtc.engine.showing import Showing
from dmtc.engine.step import Step
from dmtc.run.folder import RunFolder

LABELLED, UNLABELLED, CROP, STEPS = 4, 4, 160, 4
NETWORK = ["model=segformer", "model/backbone=timm", "model.backbone.arch=efficientnet_lite0", "model.channels=128"]
NETWORK += ["model.backbone.output_stride=32", "model.weights.a=null", "run.device=cpu"]
IMAGE = (208, 156)
"""Height and width of the images that views are made of."""


class Steps:
    """Steps of a method, on one batch that is at hand."""

    def __init__(self, method: str, *overrides: str, folder: str, change: Callable[[Showing], Showing] = lambda s: s):
        given = [f"dataset.augment.crop=[{CROP},{CROP}]", f"dataset.root={folder}", *NETWORK, *overrides]
        self.components = Components(settle(dmtc.compose([f"method={method}", *given])))
        phase = self.components.plan[0]
        model = Networks(self.components, RunFolder(folder)).instance("a")
        step, _ = new_step(self.components, [phase], [model])
        self.images = phase.labelled_batch + phase.pseudo_batch
        showing = change(showing_of(self.components, phase))
        self._step = Step(step.students, batch_size=self.images, address=(0, "online"), showing=showing)
        self._batch = self._noise(phase.pseudo_batch)

    def __call__(self) -> None:
        """Take some steps."""
        self._step.train()
        for number in range(STEPS):
            self._step(number, self._batch, learning_rate=1e-6)

    def _noise(self, unlabelled: int) -> Batch:
        generator = torch.Generator().manual_seed(0)
        blocks = torch.randint(self.components.dataset.num_classes, (self.images, 1, 8, 8), generator=generator)
        label = torch.nn.functional.interpolate(blocks.float(), (CROP, CROP)).long()[:, 0]
        label[:, :16] = IGNORE_INDEX
        image = torch.randint(256, (self.images, CROP, CROP, 3), generator=generator, dtype=torch.uint8)
        pseudo = torch.arange(self.images) < unlabelled
        return Batch(image.permute(0, 3, 1, 2), label, torch.ones(label.shape), pseudo, ("noise",) * self.images)


def plain(showing: Showing) -> Showing:
    """Without mixing and colors."""
    return replace(showing, mixer=NoMixing(), views=replace(showing.views, color=None))


def our_views(steps: Steps) -> None:
    """A weak and a strong view of some decoded images."""
    images = decoded()
    weak = []
    for number, image in enumerate(images):
        sample = Sample(str(number), image, np.zeros(image.shape[:2], np.uint8))
        weak.append(steps.components.augment(sample, generator_of(number)).image)
    color = steps.components.views.color
    assert color is not None
    color(torch.from_numpy(np.stack(weak)).permute(0, 3, 1, 2), [generator_of(number) for number in range(len(weak))])


def pillow_views() -> None:
    """The same by Pillow and torchvision's transform of its images, as published loaders do it."""
    rng, jitter = np.random.default_rng(0), ColorJitter(0.5, 0.5, 0.5, 0.25)
    for array in decoded():
        image = Image.fromarray(array)
        scale = rng.uniform(0.5, 1.5)
        size = (max(CROP, int(image.width * scale)), max(CROP, int(image.height * scale)))
        mask = Image.fromarray(np.zeros(array.shape[:2], np.uint8)).resize(size, Image.Resampling.NEAREST)
        image = image.resize(size, Image.Resampling.BILINEAR)
        left, top = rng.integers(0, size[0] - CROP + 1), rng.integers(0, size[1] - CROP + 1)
        box = (int(left), int(top), int(left) + CROP, int(top) + CROP)
        weak, mask = image.crop(box), mask.crop(box)
        strong = jitter(weak) if rng.random() < 0.8 else weak
        strong = strong.convert("L").convert("RGB") if rng.random() < 0.2 else strong
        strong = strong.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 2.0))) if rng.random() < 0.5 else strong
        torch.from_numpy(np.asarray(weak).copy()).permute(2, 0, 1).float().div(255)
        torch.from_numpy(np.asarray(strong).copy()).permute(2, 0, 1).float().div(255)
        torch.from_numpy(np.asarray(mask).copy())


@functools.cache
def decoded() -> list[np.ndarray]:
    """Decoded images: smooth noise."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (16, 26, 20, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(each).resize((IMAGE[1], IMAGE[0]), Image.Resampling.BILINEAR)) for each in small]


def main() -> None:
    """Measure all in turns."""
    given = arguments(__doc__)
    keep_freed_memory()
    batches = [f"schedule.online.labelled_batch={LABELLED}", f"schedule.online.unlabelled_batch={UNLABELLED}"]
    with tempfile.TemporaryDirectory() as folder:
        supervised = Steps("supervised", f"schedule.start.labelled_batch={LABELLED + UNLABELLED}", folder=folder)
        ours = Steps("fixmatch_ema", *batches, folder=folder)
        parts = {
            "ours": ours,
            "supervised": supervised,
            "ours, labels given": Steps(
                "fixmatch_ema",
                *batches,
                folder=folder,
                change=lambda s: replace(s, teacher=s.teacher.for_stored_labels()),
            ),
            "ours, without mixing and colors": Steps("fixmatch_ema", *batches, folder=folder, change=plain),
        }
        measured = seconds(parts, given.repeats)
        views = seconds({"ours": lambda: our_views(ours), "Pillow": pillow_views}, given.repeats)
    median = {name: float(np.median(times)) for name, times in measured.items()}
    cost = {
        "over_supervised": median["ours"] / median["supervised"],
        "teacher": 1 - median["ours, labels given"] / median["ours"],
        "mixing_and_colors": 1 - median["ours, without mixing and colors"] / median["ours"],
    }
    setting = {
        "network": "EfficientNet-Lite0, SegFormer head",
        "crop": CROP,
        "labelled": LABELLED,
        "unlabelled": UNLABELLED,
    }
    setting |= {"threads": torch.get_num_threads()}
    write("online", setting, measured, cost=cost)
    write("views", {"images": len(decoded()), "size": IMAGE, "crop": CROP, "threads": torch.get_num_threads()}, views)
    for name, value in cost.items():
        print(f"online: {name} {value:.3f}")


if __name__ == "__main__":
    main()
