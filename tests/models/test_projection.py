"""The projection head: published by default, light where the network is light."""

import pytest
import torch
from torch import nn

from dmtc.models import build_model, model_faults
from dmtc.models.projection import Projection

SPEC = {
    "name": "linear",
    "levels": None,
    "dropout": 0.0,
    "embedding_channels": 6,
    "backbone": {"name": "tiny", "width": 8},
}


def test_the_head_of_a_spec_that_names_none_is_the_published_one() -> None:
    named = build_model(SPEC | {"projection": {"width": 256, "kernel": 3}}, 3, True, 0).state_dict()
    unnamed = build_model(SPEC, 3, True, 0).state_dict()
    assert named.keys() == unnamed.keys()
    assert all(torch.equal(named[name], unnamed[name]) for name in named)
    assert named["projection.0.weight"].shape == (256, 8, 3, 3)


def test_a_light_head_keeps_the_map_and_has_its_width() -> None:
    model = build_model(SPEC | {"projection": {"width": 5, "kernel": 1}}, 3, True, 0)
    full = build_model(SPEC, 3, True, 0)
    images = torch.zeros(1, 3, 32, 48, dtype=torch.uint8)
    assert model.maps(images).embedding.shape == full.maps(images).embedding.shape
    assert isinstance(model.projection, nn.Sequential)
    assert model.projection[0].weight.shape == (5, 8, 1, 1)


def test_without_a_need_there_is_no_head() -> None:
    assert build_model(SPEC | {"projection": {"width": 5, "kernel": 1}}, 3, False, 0).projection is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0, "kernel": 1}, "model.projection.width should be at least 1, but is 0"),
        ({"width": 8, "kernel": 2}, "model.projection.kernel should be odd and at least 1, but is 2"),
        ({"width": 8}, "model.projection: missing option 'kernel'"),
        ({"width": 8, "kernel": 1, "zzz": 2}, "model.projection: unknown option 'zzz'. Known: kernel, width"),
        (None, "model.projection should be settings by name, but is None"),
    ],
)
def test_impossible_options_are_faults(options: object, message: str) -> None:
    assert model_faults(SPEC | {"projection": options}, "model") == [message]


def test_cost_of_the_head() -> None:
    def weights(head: nn.Sequential) -> int:
        return sum(each.weight.numel() for each in head if isinstance(each, nn.Conv2d))

    published = weights(Projection(width=256, kernel=3)(128, 256))
    assert weights(Projection(width=128, kernel=1)(128, 256)) < published / 7
