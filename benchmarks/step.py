"""A whole step of DMTC's start (DeepLabV2/ResNet-101, contrast on) on the CPU, against DMTC's own training function.

Beside it: the step with `run.compile=true`, and what of a step is neither forward, backward nor optimizer.

python benchmarks/step.py --reference CHECKOUT_OF_DMTC
"""

import functools
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from common import LENT, Contender, answer, apart, arguments, keep_freed_memory, write
from published_dmtc import CHECKOUT, Training

import dmtc
from dmtc.core.types import Batch
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.engine.networks import Networks
from dmtc.engine.step import Step
from dmtc.engine.student import Student
from dmtc.losses.terms import terms_of_stage
from dmtc.run.folder import RunFolder
from dmtc.schedule import OPTIMIZERS
from published import write_voc

BATCH, COUNTED_STEPS = 2, 4
"""The published batch of 8 needs more memory in DMTC's code than many machines have."""
COMPILED = "ours, run.compile=true"


def main() -> None:
    """Measure all; the published step as it is, and once more with this library's allocator setting."""
    given = arguments(
        __doc__, {"eager-only": "leave run.compile=true out: it compiles for minutes"}, reference=CHECKOUT
    )
    names = ["ours"]
    names += [] if given.eager_only else [COMPILED]
    names += ["DMTC", f"DMTC{LENT}"] if given.reference else []
    if given.contender != "DMTC":
        keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        write_voc(Path(folder) / "VOC2012", 8)
        ours = Steps(folder, *(["run.compile=true"] if given.contender == COMPILED else []))
    if given.contender:
        answer(published(given.reference, ours) if given.contender.startswith("DMTC") else ours.train)
        return
    measured, peaks = apart(names, given.repeats)
    ours.train()
    setting = {"network": "DeepLabV2/ResNet-101", "batch": BATCH, "crop": ours.crop, "classes": ours.classes}
    write("step", setting, measured, peak_bytes=peaks, shares=ours.shares())


class Steps:
    """Steps of the start of the recipe dmtc_voc_1_8, at a smaller batch, on one batch that is at hand.

    Args:
        folder: Where a VOC tree lies.
        overrides: Of the recipe.
    """

    def __init__(self, folder: str, *overrides: str) -> None:
        where = (f"dataset.root={folder}", "run.device=cpu")
        components = Components(settle(dmtc.compose(["experiment=dmtc_voc_1_8", *where, *overrides])))
        schedule = components.config["schedule"]
        self.classes, self.crop = components.dataset.num_classes, components.augment.crop
        self.terms = terms_of_stage(components.terms, "start")
        self.batch = self._noise()
        self._model = Networks(components, RunFolder(folder)).instance("a")
        self._optimizer = OPTIMIZERS.build(
            schedule["optimizer"],
            parameters=[parameter for parameter in self._model.parameters() if parameter.requires_grad],
            learning_rate=1e-6,
        )
        self._options = {"precision": components.precision, "accumulate": components.run.accumulate}

    def train(self, count: int = 1) -> None:
        """Train so many steps by the library's own step."""
        student = Student(self._model, self.terms, self._optimizer)
        step = Step([student], batch_size=BATCH, address=(0, "r0-a"), **self._options)
        self._model.train()
        for number in range(count):
            step(number, self.batch, learning_rate=1e-6)

    def shares(self) -> dict[str, float]:
        """Shares of a step that forward pass and losses, backward pass and optimizer take, and everything else."""
        spent = defaultdict[str, float](float)

        def clocked(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(work)
            def timed(*arguments: Any, **options: Any) -> Any:
                started = time.perf_counter()
                try:
                    return work(*arguments, **options)
                finally:
                    spent[name] += time.perf_counter() - started

            return timed

        terms = [term._replace(loss=clocked("forward", term.loss)) for term in self.terms]
        with ExitStack() as patches:
            patches.enter_context(patch.object(self, "terms", terms))
            patches.enter_context(patch.object(self._model, "maps", clocked("forward", self._model.maps)))
            patches.enter_context(patch.object(torch.Tensor, "backward", clocked("backward", torch.Tensor.backward)))
            patches.enter_context(patch.object(self._optimizer, "step", clocked("optimizer", self._optimizer.step)))
            started = time.perf_counter()
            self.train(COUNTED_STEPS)
            total = time.perf_counter() - started
        return {name: value / total for name, value in spent.items()} | {"rest": 1 - sum(spent.values()) / total}

    def _noise(self) -> Batch:
        """Every class is present, a tenth of the pixels is ignored."""
        generator = torch.Generator().manual_seed(0)
        blocks = torch.randint(self.classes, (BATCH, 1, 8, 8), generator=generator)
        label = F.interpolate(blocks.float(), tuple(self.crop)).long()[:, 0]
        label[torch.rand(label.shape, generator=generator) < 0.1] = 255
        image = torch.randint(256, (BATCH, *self.crop, 3), generator=generator, dtype=torch.uint8).permute(0, 3, 1, 2)
        return Batch(image, label, torch.ones(label.shape), torch.zeros(BATCH, dtype=torch.bool), ("noise",) * BATCH)


def published(checkout: Path, ours: Steps) -> Contender:
    """DMTC's training function on the same batch; its loader would have normalized the images already."""
    contrast: Any = next(term.loss for term in ours.terms if term.name == "contrastive")
    options = {"strong_threshold": contrast.strong_threshold, "temp": contrast.temperature}
    counts = {"num_queries": contrast.queries, "num_negatives": contrast.negatives}
    image = ours.batch.image.float() / 127.5 - 1
    return Training(checkout, ours.classes, image, ours.batch.label, **options, **counts).step


if __name__ == "__main__":
    main()
