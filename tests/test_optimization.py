"""Optimizers and learning-rate curves."""

import pytest
import torch

from dmtc.engine.optimization import OPTIMIZERS, RATES
from dmtc.errors import ConfigError


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
    with pytest.raises(ConfigError, match="floor should lie in"):
        RATES.build({"name": "cosine", "floor": 2})
