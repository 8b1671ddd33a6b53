"""One step: what it does to weights, statistics and averages, and which values it gives."""

import dataclasses
import math
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from dmtc.core.errors import TrainingError
from dmtc.core.types import Batch, LossValue
from dmtc.engine.average import AveragedWeights
from dmtc.engine.step import Step
from dmtc.engine.step_metrics import StepMetrics
from dmtc.engine.step_values import StepValues
from dmtc.engine.student import Student
from dmtc.losses import CrossEntropy
from dmtc.losses.terms import ActiveTerm
from dmtc.models import build_model
from dmtc.schedule import OPTIMIZERS

SPEC = {
    "name": "deeplabv2",
    "aspp_rates": [1, 2],
    "aspp_branches": 2,
    "embedding_channels": 8,
    "backbone": {"name": "tiny", "width": 8},
}
SGD = {"name": "sgd", "momentum": 0.9, "weight_decay": 5e-4, "nesterov": False, "decay_vectors": True}


def batches(count: int, ignore: float = 0.2) -> list[Batch]:
    generator = torch.Generator().manual_seed(3)
    made = []
    for _ in range(count):
        label = torch.randint(0, 3, (4, 4, 4), generator=generator).repeat_interleave(4, 1).repeat_interleave(4, 2)
        label[torch.rand(label.shape, generator=generator) < ignore] = 255
        image = torch.randint(0, 256, (4, 3, 16, 16), generator=generator, dtype=torch.uint8)
        made.append(Batch(image, label, torch.ones(4, 16, 16), torch.zeros(4, dtype=torch.bool), tuple("wxyz")))
    return made


def student(terms=None, seed: int = 1, name: str = "", spec: dict = SGD) -> Student:
    model = build_model(SPEC, 3, projection=False, seed=seed).train()
    optimizer = OPTIMIZERS.build(spec, parameters=model.parameters(), learning_rate=0.05)
    return Student(model, terms or [ActiveTerm("supervised", 1.0, CrossEntropy())], optimizer, name=name)


def taken(
    data: Sequence[Batch], learner: Student | Sequence[Student] | None = None, **options
) -> tuple[nn.Module, list[StepValues]]:
    """The first student's network after a step on each batch, and what the steps gave."""
    learner = learner or student()
    students = [learner] if isinstance(learner, Student) else learner
    step = Step(students, batch_size=4, address=(0, "r0-a"), **options)
    values = [step(number, batch, 0.05 * (1 - number / len(data)) ** 0.9) for number, batch in enumerate(data)]
    return students[0].model, values


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in model.state_dict().values()])


def test_two_runs_are_bit_identical():
    assert weights(taken(batches(6))[0]).equal(weights(taken(batches(6))[0]))


def test_it_learns():
    _, values = taken(batches(1, ignore=0.0) * 60)
    assert values[-1].sums["loss"] < 0.5 * values[0].sums["loss"]
    assert values[0].sums["loss"] == values[0].sums["supervised"] > 0


def test_accumulation_gives_the_whole_batch_gradient():
    """Unequal numbers of ignored pixels a part must not change the mean; batch statistics are kept out of it."""

    def trained(accumulate):
        learner = student()
        for module in learner.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.forward = lambda x: x
        data = batches(6)
        for batch in data:
            batch.label[0, 2:] = 255
        return weights(taken(data, learner, accumulate=accumulate)[0])

    whole = trained(1)
    assert trained(2).allclose(whole, atol=1e-5)
    assert trained(4).allclose(whole, atol=1e-5)
    assert not whole.allclose(weights(build_model(SPEC, 3, projection=False, seed=1)), atol=1e-3)


def test_terms_are_summed_with_their_weights():
    def one(logits):
        return LossValue(logits.sum() * 0 + 1.0, {"seen": torch.tensor(3.0)})

    _, values = taken(
        batches(1), student([ActiveTerm("supervised", 2.0, CrossEntropy()), ActiveTerm("mine", 0.5, one)])
    )
    sums = values[0].sums
    assert sums["loss"] == pytest.approx(float(2 * sums["supervised"] + 0.5))
    assert sums["mine/seen"] == 3.0


def test_two_students_of_one_step_learn_as_each_would_alone():
    """On the same batches: neither network, nor what is logged of it, knows of the other one."""
    alone = [taken(batches(4), student(seed=seed)) for seed in (1, 2)]
    pair = [student(seed=1, name="a"), student(seed=2, name="b")]
    _, together = taken(batches(4), pair)
    for one, (model, values), name in zip(pair, alone, "ab", strict=True):
        assert weights(one.model).equal(weights(model))
        assert [step.sums[f"{name}/supervised"] for step in together] == [step.sums["supervised"] for step in values]
    for step, *each in zip(together, *(values for _, values in alone), strict=True):
        assert step.sums["loss"] == pytest.approx(sum(float(one.sums["loss"]) for one in each))
        assert step.gradient_norm == pytest.approx(math.hypot(*(float(one.gradient_norm) for one in each)))


def test_the_average_follows_the_step():
    learner = student()
    learner.average = AveragedWeights(learner.model, 0.999)
    seen = []
    step = Step([learner], batch_size=4, address=(0, "r0-a"))
    for number, batch in enumerate(batches(3)):
        step(number, batch, 0.05)
        seen.append(next(learner.model.parameters()).detach().clone())
    torch.testing.assert_close(learner.average.state()[0], torch.stack(seen).mean(dim=0))


def wrong_at(call: int, effect):
    """A loss that is the logits' mean square, and `effect` of them in one call."""
    calls = []

    def loss(logits):
        calls.append(1)
        return LossValue(effect(logits) if len(calls) == call else logits.square().mean())

    return [ActiveTerm("mine", 1.0, loss)]


def nan_loss(logits):
    return logits.sum() * float("nan")


def nan_gradient(logits):
    """A finite value whose derivative is not: that of the square root at zero."""
    return (logits * 0).sum().abs().sqrt()


def named(count: int) -> list[Batch]:
    """Batches whose ids tell their step."""
    return [
        dataclasses.replace(batch, ids=tuple(f"{step}{id}" for id in "wxyz"))
        for step, batch in enumerate(batches(count), 1)
    ]


@pytest.mark.parametrize(
    ("effect", "fault"), [(nan_loss, "the loss of phase r0-a is nan"), (nan_gradient, "the gradient's norm of phase")]
)
def test_what_is_not_finite_shows_with_phase_step_and_images(effect, fault):
    """When the values are read, however many steps later."""
    data, metrics = named(5), StepMetrics()
    for batch, values in zip(data, taken(data, student(wrong_at(3, effect)))[1], strict=True):
        metrics.add(values, batch.ids, 4)
    with pytest.raises(TrainingError, match=rf"^{fault}.* at step 3 of 6 \(images 3w, 3x, 3y, 3z\)$"):
        metrics.check("r0-a", 5, 6)


@pytest.mark.parametrize("effect", [nan_loss, nan_gradient])
def test_a_dropped_step_leaves_no_trace(effect):
    """Neither in weights nor in running statistics, which are poisoned here as NaN in the forward pass would."""
    learner = student()
    norm = next(module for module in learner.model.modules() if isinstance(module, nn.BatchNorm2d))
    assert norm.running_mean is not None

    def poison(logits):
        norm.running_mean.data.fill_(float("nan"))  # behind autograd's back
        return effect(logits)

    learner.terms = wrong_at(3, poison)
    step = Step([learner], batch_size=4, address=(0, "r0-a"), drop_nonfinite=True)
    snapshots, metrics, means, faults = [], StepMetrics(), [], []
    for number, batch in enumerate(named(6)):
        values = step(number, batch, 0.05)
        metrics.add(values, batch.ids, 4)
        faults.append(values.fault)
        snapshots.append(weights(learner.model))
        if number % 2:
            metrics.check("r0-a", number + 1, 6)
            means.append(metrics.means())
            metrics = StepMetrics()
    assert [number for number, fault in enumerate(faults, 1) if fault] == [3]
    assert snapshots[2].equal(snapshots[1])
    assert not snapshots[3].equal(snapshots[2])
    assert snapshots[-1].isfinite().all()
    assert len(means) == 3
    assert all(math.isfinite(value) for of in means for value in of.values())


def test_an_all_ignored_batch_changes_nothing_but_weight_decay():
    data = batches(6)
    for batch in data:
        batch.label.fill_(255)
    model, values = taken(data)
    assert values[0].sums["loss"] == 0
    assert weights(model).isfinite().all()


def test_bfloat16_follows_float32():
    full = taken(batches(6))[1][-1].sums["loss"]
    half = taken(batches(6), precision=torch.bfloat16)[1][-1].sums["loss"]
    assert float(half) == pytest.approx(float(full), rel=0.05)
    assert half != full


def test_groups_have_their_share_of_the_learning_rate():
    """A group at rate 0 stays, one at half the rate moves half as far in a first step of SGD."""
    students = [student() for _ in range(2)]
    for one, scale in zip(students, (1.0, 0.5), strict=True):
        stem, head = list(one.model.backbone.parameters()), list(one.model.classifier.parameters())
        groups = [{"params": stem, "lr_scale": 0.0}, {"params": head, "lr_scale": scale}]
        one.optimizer = OPTIMIZERS.build(
            SGD | {"momentum": 0.0, "weight_decay": 0.0}, parameters=groups, learning_rate=0.1
        )
        taken(batches(1), one)
        untouched = build_model(SPEC, 3, False, 1).backbone.parameters()
        assert all(torch.equal(a, b) for a, b in zip(stem, untouched, strict=True))
    full, half = (one.model.classifier.convs[0].weight.detach() for one in students)
    start = build_model(SPEC, 3, projection=False, seed=1).classifier.convs[0].weight.detach()
    assert not torch.equal(full, start)
    torch.testing.assert_close(half - start, (full - start) / 2)
