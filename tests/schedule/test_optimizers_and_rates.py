"""Optimizers and learning-rate curves."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import dmtc
from dmtc.core.errors import ConfigError
from dmtc.engine.checks import settle
from dmtc.engine.step import _set_rate
from dmtc.models import build_model
from dmtc.schedule import OPTIMIZERS, RATES
from dmtc.schedule.rates import warmed_up

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "peers" / "rates.npz")
POLY = {"name": "poly", "power": 0.9, "offset": 0}
SGD = {"name": "sgd", "momentum": 0.9, "weight_decay": 0.1, "nesterov": False, "decay_vectors": True}
ADAMW = {"name": "adamw", "betas": [0.9, 0.999], "weight_decay": 0.1, "decay_vectors": True}


def test_poly():
    poly = RATES.build(POLY, steps=4)
    assert [poly(step / 4) for step in range(4)] == pytest.approx([1.0, 0.75**0.9, 0.5**0.9, 0.25**0.9])


@pytest.mark.parametrize(
    ("recipe", "rate", "backbone", "offset"),
    [
        ("unimatch_v1_voc", 0.01, 0.1, 1),
        ("unimatch_v1_city", 0.005, 1.0, 1),
        ("unimatch_v2", 2e-4, 0.025, 1),
        ("prevmatch_voc", 0.01, 0.1, 1),
        ("corrmatch_voc", 0.01, 0.1, 1),
        ("u2pl", 0.01, 0.1, 0),
        ("augseg", 0.01, 0.1, 0),
        ("stpp", 0.01, 0.1, 0),
        ("cps", 0.01, 1.0, 0),
    ],
)
def test_rates_of_published_recipes(recipe, rate, backbone, offset):
    """Of backbone and heads, through the groups of a network."""
    steps = int(GOLDEN["total_iters"])
    curve = RATES.build(POLY | {"offset": offset}, steps=steps)
    head = {"name": "linear", "levels": None, "dropout": 0.0, "embedding_channels": 4}
    parts = {"backbone": {"name": "tiny", "width": 8}, "tuning": {"name": "full", "backbone_rate": backbone}}
    model = build_model(head | parts, num_classes=3, projection=False, seed=0)
    optimizer = OPTIMIZERS.build(SGD, parameters=model.parameter_groups(), learning_rate=rate)
    used = []
    for number in GOLDEN["iters"]:
        _set_rate(optimizer, rate * curve(number / steps))
        of = {id(one): group["lr"] for group in optimizer.param_groups for one in group["params"]}
        used.append([of[id(next(part.parameters()))] for part in (model.backbone, model.classifier)])
    expected = GOLDEN[recipe]
    np.testing.assert_allclose(used, expected if expected.ndim > 1 else np.stack([expected] * 2, 1), rtol=1e-9)


@pytest.mark.parametrize("recipe", ["u2pl", "augseg"])
def test_rates_that_u2pl_and_augseg_print_are_those_of_the_step_before(recipe):
    """They set the rate before a step and print the one that they set before the last step."""
    curve = RATES.build(POLY | {"offset": 1}, steps=1000)
    printed = GOLDEN[f"{recipe}_logged"][:, 1]
    np.testing.assert_allclose([0.01 * curve(number / 1000) for number in GOLDEN["iters"]], printed, rtol=1e-9)


@pytest.mark.parametrize("steps_per_epoch", [1, 7, 200])
def test_rates_of_reco(steps_per_epoch):
    """One rate for all steps of an epoch, whatever their number."""
    steps = 200 * steps_per_epoch
    curve = RATES.build({"name": "poly_by_epoch", "power": 0.9, "epochs": 200, "floor": 1e-6 / 2.5e-3}, steps=steps)
    for epoch, expected in zip(GOLDEN["reco_epochs"], GOLDEN["reco"], strict=True):
        for step in range(epoch * steps_per_epoch, (epoch + 1) * steps_per_epoch):
            assert 2.5e-3 * curve(step / steps) == pytest.approx(expected, rel=1e-9)


def test_poly_by_epoch_stays_at_its_floor():
    curve = RATES.build({"name": "poly_by_epoch", "power": 1.0, "epochs": 4, "floor": 0.4}, steps=8)
    assert [curve(step / 8) for step in range(8)] == [1, 1, 0.75, 0.75, 0.5, 0.5, 0.4, 0.4]


def test_cosine_goes_from_one_to_its_floor():
    cosine = RATES.build({"name": "cosine", "floor": 0.2})
    assert [cosine(done) for done in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.6, 0.2])


def test_constant():
    assert RATES.build({"name": "constant"})(0.7) == 1.0


@pytest.mark.parametrize(
    ("spec", "update"),
    [
        (SGD, 0.01 * (2.0 + 0.1 * 1.0)),
        # Adam's first step is the rate itself, whatever the gradient's size; the decay is apart from it.
        (ADAMW, 0.01 * (1.0 + 0.1 * 1.0)),
    ],
)
def test_first_step_of_each_optimizer(spec, update):
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = OPTIMIZERS.build(spec, parameters=[weight], learning_rate=0.01)
    weight.grad = torch.tensor(2.0)
    optimizer.step()
    assert float(weight.detach()) == pytest.approx(1.0 - update, abs=1e-6)


def test_nesterov_steps_ahead():
    """PyTorch's rule, one parameter: the second step is g + m (m g + g) instead of m g + g."""
    ends = {}
    for nesterov in (False, True):
        weight = torch.nn.Parameter(torch.zeros(()))
        spec = SGD | {"weight_decay": 0.0, "nesterov": nesterov}
        optimizer = OPTIMIZERS.build(spec, parameters=[weight], learning_rate=1.0)
        for _ in range(2):
            weight.grad = torch.ones(())
            optimizer.step()
        ends[nesterov] = float(weight.detach())
    assert ends == pytest.approx({False: -(1 + 1.9), True: -(1.9 + 1 + 0.9 * 1.9)})
    with pytest.raises(ConfigError, match=r"nesterov needs a momentum above 0, but momentum is 0\.0"):
        OPTIMIZERS.build(SGD | {"momentum": 0.0, "nesterov": True}, parameters=[weight], learning_rate=1.0)


@pytest.mark.parametrize("spec", [SGD, ADAMW], ids=lambda spec: spec["name"])
def test_vectors_keep_their_size_without_weight_decay(spec):
    """In a plain list and in groups, whose other keys stay."""
    layer, norm = torch.nn.Linear(2, 3), torch.nn.BatchNorm2d(4)
    parameters = [*layer.parameters(), *norm.parameters()]
    groups = [{"params": layer.parameters(), "lr_scale": 0.5}, {"params": norm.parameters(), "weight_decay": 0.2}]
    for given in (parameters, groups):
        optimizer = OPTIMIZERS.build(spec | {"decay_vectors": False}, parameters=given, learning_rate=0.01)
        decays = {one: group["weight_decay"] for group in optimizer.param_groups for one in group["params"]}
        assert decays == {one: 0.1 if one is layer.weight else 0.0 for one in parameters}
    scales = {one: group.get("lr_scale") for group in optimizer.param_groups for one in group["params"]}
    assert scales == {layer.weight: 0.5, layer.bias: 0.5, norm.weight: None, norm.bias: None}
    kept = OPTIMIZERS.build(spec, parameters=parameters, learning_rate=0.01)
    assert [group["params"] for group in kept.param_groups] == [parameters]


@pytest.mark.parametrize("betas", [[0.9], [0.9, 1.0], [0.9, 0.99, 0.999]])
def test_impossible_betas(betas):
    spec = ADAMW | {"betas": betas}
    with pytest.raises(ConfigError, match="betas should be two numbers"):
        OPTIMIZERS.build(spec, parameters=[torch.nn.Parameter(torch.ones(()))], learning_rate=0.01)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "cosine", "floor": 2}, r"schedule\.rate\.floor should be in \[0, 1\], but is 2"),
        ({"name": "poly_by_epoch", "power": 0.9, "epochs": 2, "floor": -1}, r"rate\.floor should be in \[0, 1\]"),
        ({"name": "poly_by_epoch", "power": 0.9, "epochs": 0, "floor": 0}, r"rate\.epochs should be at least 1"),
        (POLY | {"offset": -1}, r"rate\.offset should be 0 or more steps, but is -1"),
    ],
)
def test_impossible_curves(spec, message):
    with pytest.raises(ConfigError, match=message):
        RATES.build(spec, steps=10)


def test_warm_up_rises_to_the_curve_and_leaves_the_rest_of_it():
    poly = RATES.build(POLY, steps=10)
    warm = warmed_up(poly, 0.4)
    assert [warm(step / 10) for step in range(4)] == pytest.approx([step / 4 * poly(step / 10) for step in range(4)])
    assert [warm(step / 10) for step in range(4, 10)] == [poly(step / 10) for step in range(4, 10)]
    assert warmed_up(poly, 0.0) is poly


def test_every_phase_of_a_run_warms_up(small, tmp_path):
    lengths = ["schedule.limit_steps=5", "schedule.rounds.label_ratios=[0.5]", "schedule/rate=constant"]
    options = [*small, "method=cbst", *lengths, "schedule.warmup=0.6", "run.log_every=1"]
    run = dmtc.train(dmtc.compose(options), tmp_path / "run")
    rates = {phase["name"]: [] for phase in run.results["phases"]}
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        if "learning_rate" in record:
            rates[record["phase"]].append(record["learning_rate"])
    start, rounds = (run.config["schedule"][stage]["learning_rate"] for stage in ("start", "rounds"))
    share = [0, 1 / 3, 2 / 3, 1, 1]
    assert rates["r0-a"] == pytest.approx([start * one for one in share])
    assert rates["r1-a"] == pytest.approx([rounds * one for one in share])


@pytest.mark.parametrize("warmup", ["1.0", "-0.1", "true", "null", "long"])
def test_impossible_warm_ups(warmup):
    with pytest.raises(ConfigError, match=r"schedule\.warmup should be a share of each phase, from 0 to below 1"):
        settle(dmtc.compose([f"schedule.warmup={warmup}"]))
