"""Earlier students: which are kept and drawn, against PrevMatch's own figures."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dmtc.core.errors import ConfigError
from dmtc.pseudo.snapshots import SnapshotDraw, Snapshots, triangle

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "peers" / "prevmatch.npz")
SNAPSHOTS = Snapshots(interval=10, most=8, drawn=3)


def test_golden_numbers_and_weights_of_snapshots():
    generator = np.random.default_rng(0)
    draws = [SNAPSHOTS.draw(1000, generator) for _ in range(4000)]
    sizes = [len(draw.steps) for draw in draws]
    assert np.bincount(sizes) / len(draws) == pytest.approx(GOLDEN["ensemble_size_share"], abs=0.035)
    larger = np.array([max(draw.weights) for draw in draws if len(draw.steps) == 2])
    found = [larger.mean(), larger.std(), *np.quantile(larger, [0.05, 0.25, 0.5, 0.75, 0.95])]
    assert found == pytest.approx(GOLDEN["ensemble_two_larger_weight"][[0, 1, 3, 4, 5, 6, 7]], abs=0.035)
    assert all(sum(draw.weights) == pytest.approx(1) and min(draw.weights) > 0 for draw in draws)
    steps = np.concatenate([draw.steps for draw in draws])
    assert sorted(set(steps)) == list(SNAPSHOTS.kept(1000)) == list(range(930, 1001, 10))
    assert np.bincount((steps - 930) // 10) / len(steps) == pytest.approx(np.full(8, 1 / 8), abs=0.02)
    assert all(len(set(draw.steps)) == len(draw.steps) for draw in draws)


def test_golden_triangle():
    found = [triangle(epoch / 80) for epoch in GOLDEN["lambda_epochs"]]
    assert found == pytest.approx(GOLDEN["lambda_80"], abs=1e-12)


def test_what_is_kept_is_what_was_due():
    taken = []
    for done in range(200):
        if SNAPSHOTS.due(done):
            taken = [*taken, done][-8:]
        assert list(SNAPSHOTS.kept(done)) == taken
    assert taken == [120, 130, 140, 150, 160, 170, 180, 190]


def test_few_snapshots_and_none():
    generator = np.random.default_rng(0)
    assert SNAPSHOTS.draw(9, generator) is None
    assert SNAPSHOTS.draw(19, generator) == SnapshotDraw((10,), (1.0,))
    assert {len(SNAPSHOTS.draw(29, generator).steps) for _ in range(50)} == {1, 2}
    assert {len(Snapshots(interval=1, most=8, drawn=1).draw(9, generator).steps) for _ in range(50)} == {1}


def test_the_ensemble_is_the_weighted_sum_of_logits():
    logits = {step: torch.randn(2, 3, 4, 4, requires_grad=True) for step in (10, 20, 30)}
    draw = SnapshotDraw((30, 10), (0.25, 0.75))
    found = draw.ensemble(logits)
    torch.testing.assert_close(found, 0.25 * logits[30] + 0.75 * logits[10])
    assert not found.requires_grad


@pytest.mark.parametrize("name", ["interval", "most", "drawn"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ConfigError, match=rf"snapshots\.{name} should be at least 1, but is 0"):
        Snapshots(**{"interval": 1, "most": 1, "drawn": 1} | {name: 0})
