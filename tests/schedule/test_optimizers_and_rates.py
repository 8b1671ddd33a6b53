"""Optimizers and learning-rate curves."""

import json

import pytest
import torch

import dmtc
from dmtc.core.errors import ConfigError
from dmtc.engine.checks import settle
from dmtc.schedule import OPTIMIZERS, RATES
from dmtc.schedule.rates import warmed_up


def test_poly():
    poly = RATES.build({"name": "poly", "power": 0.9})
    assert [poly(step / 4) for step in range(4)] == pytest.approx([1.0, 0.75**0.9, 0.5**0.9, 0.25**0.9])


def test_cosine_goes_from_one_to_its_floor():
    cosine = RATES.build({"name": "cosine", "floor": 0.2})
    assert [cosine(done) for done in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.6, 0.2])


def test_constant():
    assert RATES.build({"name": "constant"})(0.7) == 1.0


@pytest.mark.parametrize(
    ("spec", "update"),
    [
        ({"name": "sgd", "momentum": 0.9, "weight_decay": 0.1}, 0.01 * (2.0 + 0.1 * 1.0)),
        # Adam's first step is the rate itself, whatever the gradient's size; the decay is apart from it.
        ({"name": "adamw", "betas": [0.9, 0.999], "weight_decay": 0.1}, 0.01 * (1.0 + 0.1 * 1.0)),
    ],
)
def test_first_step_of_each_optimizer(spec, update):
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = OPTIMIZERS.build(spec, parameters=[weight], learning_rate=0.01)
    weight.grad = torch.tensor(2.0)
    optimizer.step()
    assert float(weight.detach()) == pytest.approx(1.0 - update, abs=1e-6)


@pytest.mark.parametrize("betas", [[0.9], [0.9, 1.0], [0.9, 0.99, 0.999]])
def test_impossible_betas(betas):
    spec = {"name": "adamw", "betas": betas, "weight_decay": 0.1}
    with pytest.raises(ConfigError, match="betas should be two numbers"):
        OPTIMIZERS.build(spec, parameters=[torch.nn.Parameter(torch.ones(()))], learning_rate=0.01)


def test_impossible_floor():
    with pytest.raises(ConfigError, match="floor should be in"):
        RATES.build({"name": "cosine", "floor": 2})


def test_warm_up_rises_to_the_curve_and_leaves_the_rest_of_it():
    poly = RATES.build({"name": "poly", "power": 0.9})
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
