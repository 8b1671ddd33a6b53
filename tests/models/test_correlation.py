"""The correlation head: golden values and gradient, regions, and that it trains."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dmtc.core.errors import ConfigError
from dmtc.models import build_model
from dmtc.models.correlation import CorrelationHead, correlated_regions, regions_of

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "peers" / "corrmatch.npz")


def golden(key):
    return torch.from_numpy(GOLDEN[f"corr_{key}"])


def golden_head():
    head = CorrelationHead(in_channels=3, num_classes=7, channels=256, dropout=0.1)
    weights = {"first.weight": "w1", "first.bias": "b1", "second.weight": "w2", "second.bias": "b2"}
    state = {name: golden(key).view_as(head.state_dict()[name]) for name, key in weights.items()}
    assert not head.load_state_dict(state, strict=False).unexpected_keys
    return head


def test_golden_value_and_gradient():
    feature = golden("feature").requires_grad_()
    logits = golden("logits").requires_grad_()
    found = golden_head().correlate(feature, logits)
    torch.testing.assert_close(found.logits, golden("out"), rtol=1e-4, atol=1e-5)
    (found.logits * golden("probe")).sum().backward()
    torch.testing.assert_close(feature.grad, golden("grad_feature"), rtol=1e-4, atol=1e-6)
    assert logits.grad is None


def test_golden_regions():
    found = golden_head().correlate(golden("feature"), golden("logits"))
    rows = found.weights[:, golden("sample_index")[:16]].unflatten(2, (7, 7))
    expected = torch.from_numpy(np.unpackbits(GOLDEN["corr_map_bits"], axis=-1)).bool()
    assert torch.equal(regions_of(rows, (24, 24)), expected)


def test_every_cell_can_be_drawn_and_the_draw_follows_the_generator():
    weights = torch.eye(4)[None].repeat(2, 1, 1)
    regions = correlated_regions(weights, (2, 2), (2, 2), 200, np.random.default_rng(0))
    assert regions.shape == (2, 200, 2, 2)
    assert torch.equal(regions[0], regions[1])
    assert (regions.sum((2, 3)) == 1).all()
    assert (regions[0].flatten(1).sum(0) > 25).all()
    again = correlated_regions(weights, (2, 2), (2, 2), 200, np.random.default_rng(0))
    assert torch.equal(again, regions)


def test_a_cell_alike_to_all_gives_no_region():
    assert not correlated_regions(torch.ones(1, 9, 9), (3, 3), (6, 6), 4, np.random.default_rng(0)).any()


def test_it_trains_at_the_size_of_the_deep_map():
    head = CorrelationHead(in_channels=16, num_classes=5, channels=8, dropout=0.1)
    found = head(torch.randn(2, 16, 4, 6), torch.randn(2, 5, 8, 12))
    assert found.logits.shape == (2, 5, 4, 6)
    torch.testing.assert_close(found.weights.sum(2), torch.ones(2, 24))
    found.logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_impossible_sizes_are_refused():
    with pytest.raises(
        ConfigError, match=r"model\.correlation\.channels should be at least 1.*; .*\.dropout should lie"
    ):
        CorrelationHead(in_channels=16, num_classes=5, channels=0, dropout=1.0)
    with pytest.raises(ConfigError, match="number of regions should be at least 1"):
        correlated_regions(torch.ones(1, 4, 4), (2, 2), (4, 4), 0, np.random.default_rng(0))


def test_a_network_takes_the_heads_size_from_its_spec():
    spec = {"backbone": {"name": "tiny", "width": 4}, "name": "linear", "levels": None, "dropout": 0.0}
    spec |= {"embedding_channels": 8, "correlation": {"channels": 12, "dropout": 0.3}}
    head = build_model(spec, 3, False, 0, correlation=True).correlation
    assert head.first.in_channels == 12
    assert head.reduce[-1].p == 0.3
    assert build_model(spec, 3, False, 0).correlation is None


@pytest.mark.parametrize(
    ("correlation", "told"),
    [
        ({}, r"model\.correlation is missing, but a loss term needs it, such as \{channels: 256, dropout: 0\.1\}"),
        ({"correlation": None}, r"model\.correlation should be settings by name, but is None"),
        ({"correlation": {"channels": 8}}, r"model\.correlation: missing option 'dropout'"),
        ({"correlation": {"channels": 8, "dropout": 0.1, "num_classes": 3}}, r"num_classes is set by the library"),
        ({"correlation": {"channels": 0, "dropout": 0.1}}, r"model\.correlation\.channels should be at least 1"),
        ({"correlation": {"channels": 8, "dropout": 1}}, r"model\.correlation\.dropout should lie in \[0, 1\)"),
    ],
)
def test_a_spec_without_a_possible_head_is_refused(correlation, told):
    spec = {"backbone": {"name": "tiny", "width": 4}, "name": "linear", "levels": None, "dropout": 0.0}
    with pytest.raises(ConfigError, match=told):
        build_model({**spec, "embedding_channels": 8, **correlation}, 3, False, 0, correlation=True)
