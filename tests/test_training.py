import dataclasses
import math

import pytest
import torch
from torch import nn

from dmtc.engine.optimization import OPTIMIZERS, RATES
from dmtc.engine.training import LoopEvents, LoopSettings, train_phase
from dmtc.errors import TrainingError
from dmtc.losses import CrossEntropy
from dmtc.models import build_model
from dmtc.schedule import Phase
from dmtc.types import Batch, LossValue

PHASE = Phase("r0-a", "start", "a", None, None, None, 6, 0.05, 4, 0, 2)
SETTINGS = LoopSettings(seed=0, precision=torch.float32, accumulate=1, log_every=4)
SPEC = {
    "name": "deeplabv2",
    "aspp_rates": [1, 2],
    "aspp_branches": 2,
    "embedding_channels": 8,
    "backbone": {"name": "tiny", "width": 8},
}


def batches(count: int, ignore: float = 0.2) -> list[Batch]:
    generator = torch.Generator().manual_seed(3)
    made = []
    for _ in range(count):
        label = torch.randint(0, 3, (4, 4, 4), generator=generator).repeat_interleave(4, 1).repeat_interleave(4, 2)
        label[torch.rand(label.shape, generator=generator) < ignore] = 255
        image = torch.randint(0, 256, (4, 3, 16, 16), generator=generator, dtype=torch.uint8)
        made.append(Batch(image, label, torch.ones(4, 16, 16), torch.zeros(4, dtype=torch.bool), tuple("wxyz")))
    return made


class Recorder:
    def __init__(self) -> None:
        self.images: list[int] = []
        self.logs: list[tuple[int, dict[str, float]]] = []
        self.evaluated: list[int] = []
        self.saved: list[int] = []
        self.dropped: list[tuple[int, str]] = []
        self.stepped = self.images.append

    def events(self) -> LoopEvents:
        return LoopEvents(
            lambda images: self.stepped(images),
            lambda step, values: self.logs.append((step, values)),
            self.evaluate,
            dropped=lambda step, fault, ids: self.dropped.append((step, ids[0])),
            save=lambda state: self.saved.append(state.step),
        )

    def evaluate(self, step: int) -> None:
        self.evaluated.append(step)


def train(data, phase=PHASE, settings=SETTINGS, terms=None, model=None, recorder=None):
    model = model or build_model(SPEC, 3, projection=False, seed=1)
    sgd = {"name": "sgd", "momentum": 0.9, "weight_decay": 5e-4}
    optimizer = OPTIMIZERS.build(sgd, parameters=model.parameters(), learning_rate=phase.learning_rate)
    recorder = recorder or Recorder()
    terms = terms or [("supervised", 1.0, CrossEntropy())]
    rate = RATES.build({"name": "poly", "power": 0.9})
    seconds = train_phase(phase, model, data, terms, optimizer, rate, settings, recorder.events())
    assert seconds > 0
    return model, recorder


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in model.state_dict().values()])


def test_two_runs_are_bit_identical():
    assert weights(train(batches(6))[0]).equal(weights(train(batches(6))[0]))


def test_logs_and_evaluations_come_at_their_steps():
    _, recorder = train(batches(6))
    assert recorder.images == [4] * 6
    assert [step for step, _ in recorder.logs] == [4, 6]
    assert recorder.evaluated == recorder.saved == [3, 6]
    assert recorder.logs[1][1]["learning_rate"] == pytest.approx(0.05 * (1 - 5 / 6) ** 0.9)
    assert recorder.logs[0][1]["loss"] == recorder.logs[0][1]["supervised"] > 0


def test_it_learns():
    data = batches(1, ignore=0.0) * 60
    _, recorder = train(data, dataclasses.replace(PHASE, steps=60))
    assert recorder.logs[-1][1]["loss"] < 0.5 * recorder.logs[0][1]["loss"]


def test_accumulation_gives_the_whole_batch_gradient():
    """Unequal numbers of ignored pixels a part must not change the mean; batch statistics are kept out of it."""

    def trained(accumulate):
        model = build_model(SPEC, 3, projection=False, seed=1)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.forward = lambda x: x
        data = batches(6)
        for batch in data:
            batch.label[0, 2:] = 255
        return weights(train(data, settings=dataclasses.replace(SETTINGS, accumulate=accumulate), model=model)[0])

    whole = trained(1)
    assert trained(2).allclose(whole, atol=1e-5)
    assert trained(4).allclose(whole, atol=1e-5)
    assert not whole.allclose(weights(build_model(SPEC, 3, projection=False, seed=1)), atol=1e-3)


def test_terms_are_summed_with_their_weights():
    def one(logits):
        return LossValue(logits.sum() * 0 + 1.0, {"seen": torch.tensor(3.0)})

    _, recorder = train(batches(6), terms=[("supervised", 2.0, CrossEntropy()), ("mine", 0.5, one)])
    values = recorder.logs[0][1]
    assert values["loss"] == pytest.approx(2 * values["supervised"] + 0.5)
    assert values["mine/seen"] == 3.0


def wrong_at(call: int, effect):
    """A loss that is the logits' mean square, and `effect` of them in one call."""
    calls = []

    def loss(logits):
        calls.append(1)
        return LossValue(effect(logits) if len(calls) == call else logits.square().mean())

    return [("mine", 1.0, loss)]


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


@pytest.mark.parametrize("log_every", [1, 4])
def test_a_loss_that_is_not_finite_stops_with_phase_step_and_images(log_every):
    settings = dataclasses.replace(SETTINGS, log_every=log_every)
    message = r"^the loss of phase r0-a is nan at step 3 of 6 \(images 3w, 3x, 3y, 3z\)$"
    with pytest.raises(TrainingError, match=message):
        train(named(6), terms=wrong_at(3, nan_loss), settings=settings)


def test_a_gradient_that_is_not_finite_stops():
    with pytest.raises(TrainingError, match=r"^the gradient's norm of phase r0-a is nan at step 5 of 6 \(images 5w"):
        train(named(6), terms=wrong_at(5, nan_gradient))


def test_nothing_is_scored_or_saved_after_a_step_that_is_not_finite():
    """Step 3 is scored, and step 2 logged nothing yet."""
    recorder = Recorder()
    with pytest.raises(TrainingError, match="step 2 of 6"):
        train(named(6), terms=wrong_at(2, nan_loss), recorder=recorder)
    assert recorder.evaluated == recorder.saved == []


@pytest.mark.parametrize("effect", [nan_loss, nan_gradient])
def test_a_dropped_step_leaves_no_trace(effect):
    """Neither in weights nor in running statistics, which are poisoned here as NaN in the forward pass would."""
    settings = dataclasses.replace(SETTINGS, skip_nonfinite=True, log_every=2)
    model = build_model(SPEC, 3, projection=False, seed=1)
    norm = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    assert norm.running_mean is not None

    def poison(logits):
        norm.running_mean.data.fill_(float("nan"))  # behind autograd's back
        return effect(logits)

    recorder = Recorder()
    snapshots = []
    recorder.stepped = lambda images: snapshots.append(weights(model))
    train(named(6), terms=wrong_at(3, poison), settings=settings, model=model, recorder=recorder)
    assert recorder.dropped == [(3, "3w")]
    assert snapshots[2].equal(snapshots[1])
    assert not snapshots[3].equal(snapshots[2])
    assert snapshots[-1].isfinite().all()
    assert [step for step, _ in recorder.logs] == [2, 4, 6]
    assert all(math.isfinite(value) for _, values in recorder.logs for value in values.values())


def test_an_all_ignored_batch_changes_nothing_but_weight_decay():
    data = batches(6)
    for batch in data:
        batch.label.fill_(255)
    model, recorder = train(data)
    assert recorder.logs[0][1]["loss"] == 0
    assert weights(model).isfinite().all()


def test_bfloat16_follows_float32():
    full = train(batches(6))[1].logs[-1][1]["loss"]
    half = train(batches(6), settings=dataclasses.replace(SETTINGS, precision=torch.bfloat16))[1].logs[-1][1]["loss"]
    assert half == pytest.approx(full, rel=0.05)


def test_groups_have_their_share_of_the_learning_rate():
    """A group at rate 0 stays, one at half the rate moves half as far in a first step of SGD."""
    models = [build_model(SPEC, 3, projection=False, seed=1) for _ in range(2)]
    for model, scale in zip(models, (1.0, 0.5), strict=True):
        stem, head = list(model.backbone.parameters()), list(model.classifier.parameters())
        groups = [{"params": stem, "lr_scale": 0.0}, {"params": head, "lr_scale": scale}]
        optimizer = OPTIMIZERS.build(
            {"name": "sgd", "momentum": 0.0, "weight_decay": 0.0}, parameters=groups, learning_rate=0.1
        )
        phase = dataclasses.replace(PHASE, steps=1, evaluations=1)
        rate = RATES.build({"name": "constant"})
        train_phase(
            phase, model, batches(1), [("ce", 1.0, CrossEntropy())], optimizer, rate, SETTINGS, Recorder().events()
        )
        assert all(
            torch.equal(a, b) for a, b in zip(stem, build_model(SPEC, 3, False, 1).backbone.parameters(), strict=True)
        )
    full, half = (model.classifier.convs[0].weight.detach() for model in models)
    start = build_model(SPEC, 3, projection=False, seed=1).classifier.convs[0].weight.detach()
    assert not torch.equal(full, start)
    torch.testing.assert_close(half - start, (full - start) / 2)
