"""What a step costs in counts, which no load on the machine changes: passes, images in them, waits for the device."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

import dmtc
from dmtc.core.types import IGNORE_INDEX, Batch
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.engine.networks import Networks
from dmtc.engine.new_step import new_step, showing_of
from dmtc.engine.step import Step
from dmtc.models import Backbone
from dmtc.run.folder import RunFolder

ATEN = torch.ops.aten
WAITING = {ATEN._local_scalar_dense.default, ATEN.nonzero.default, ATEN.equal.default, ATEN.masked_select.default}
"""Operations whose result the host needs before it can go on."""
WAITS = {"u2pl": 4, "corrmatch": 2}
"""Methods whose step waits: for the numbers of keys of each class, and for the regions."""
PASSES = {
    "supervised": ([8], []),
    "dmtc": ([8], []),
    "fixmatch": ([8, 4], []),
    "fixmatch_ema": ([8], [4]),
    "crescendo": ([8], [4]),
    "unimatch_v2": ([4, 8], [4]),
    "cutmix": ([4, 4], [4]),
    "reco": ([4, 4], [4]),
    "u2pl": ([8], [4, 8]),
    "mean_teacher": ([4, 4], [4, 4]),
    "corrmatch": ([8, 4], []),
    "unimatch": ([8, 8], []),
}
"""Images of every pass with and without gradient, of 4 labelled and 4 unlabelled ones."""


class Waits(TorchDispatchMode):
    """Counts operations for which the host would wait for a GPU. On the CPU they are the same, and none waits."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, arguments=(), options=None) -> Any:
        name = operation.overloadpacket
        by_mask = name in (ATEN.index, ATEN.index_put, ATEN.index_put_) and any(
            each is not None and each.dtype == torch.bool for each in arguments[1]
        )
        self.count += by_mask or operation in WAITING or "unique" in str(name)
        return operation(*arguments, **(options or {}))


@contextmanager
def passes() -> Iterator[tuple[list[int], list[int]]]:
    """Images of each pass through a backbone, with gradient and without."""
    seen: tuple[list[int], list[int]] = ([], [])

    def look(module, arguments) -> None:
        if isinstance(module, Backbone):
            seen[not torch.is_grad_enabled()].append(len(arguments[0]))

    hook = register_module_forward_pre_hook(look)
    try:
        yield seen
    finally:
        hook.remove()


@pytest.fixture
def step_of(small, tmp_path):
    """A step of a method's first phase, which takes a batch of four labelled and four unlabelled images."""

    def made(method: str):
        sizes = ["schedule.start.labelled_batch=8", "schedule.online.labelled_batch=4"]
        sizes += ["schedule.online.unlabelled_batch=4"]
        components = Components(settle(dmtc.compose([*small, f"method={method}", *sizes])))
        phase = components.plan[0]
        model = Networks(components, RunFolder(tmp_path)).instance("a")
        made, _ = new_step(components, [phase], [model])
        step = Step(made.students, batch_size=8, address=(0, phase.name), showing=showing_of(components, phase))
        step.train()
        generator = torch.Generator().manual_seed(0)
        label = torch.randint(components.dataset.num_classes, (8, 32, 32), generator=generator)
        label[:, :4] = IGNORE_INDEX
        image = torch.randint(256, (8, 32, 32, 3), generator=generator, dtype=torch.uint8).permute(0, 3, 1, 2)
        pseudo = torch.arange(8) < phase.pseudo_batch
        batch = Batch(image, label, torch.ones(label.shape), pseudo, tuple(f"image{number}" for number in range(8)))
        step(0, batch, learning_rate=1e-3)  # what a first step sets up
        return lambda: step(1, batch, learning_rate=1e-3)

    return made


@pytest.mark.parametrize("method", PASSES)
def test_a_step_makes_the_passes_of_its_method_and_waits_for_nothing(step_of, method):
    step = step_of(method)
    with passes() as seen:
        step()
    assert seen == PASSES[method]
    with Waits() as waits:
        step()
    assert waits.count == WAITS.get(method, 0)


def test_waits_are_counted():
    values = torch.arange(4.0)
    with Waits() as waits:
        values.sum().item()
        values[values > 1] = torch.ones(2)
        values[values > 1]
        values.unique()
    assert waits.count == 4
