"""Frozen backbones, and rates that fall from layer to layer."""

from typing import Any

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay

from dmtc.core.errors import ConfigError
from dmtc.models import SegmentationModel, build_model

VIT = {"name": "vit", "arch": "test_vit", "norm": True}
DECAY = {"name": "layer_decay", "decay": 0.5, "backbone_rate": 1.0, "decay_vectors": False}


def make(backbone: dict[str, Any], tuning: dict[str, Any] | None) -> SegmentationModel:
    head = {"name": "linear", "levels": None, "dropout": 0.0, "embedding_channels": 4}
    spec = {**head, "backbone": backbone} | ({} if tuning is None else {"tuning": tuning})
    return build_model(spec, num_classes=3, projection=False, seed=0)


def rates(model: SegmentationModel) -> dict[str, tuple[float, float | None]]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: (group["lr_scale"], group.get("weight_decay"))
        for group in model.parameter_groups()
        for parameter in group["params"]
    }


@pytest.mark.parametrize("tuning", [None, {"name": "full", "backbone_rate": 1.0}])
def test_by_default_all_weights_are_one_plain_list(tuning: dict[str, Any] | None) -> None:
    model = make(VIT, tuning)
    assert [id(parameter) for parameter in model.parameter_groups()] == [id(p) for p in model.parameters()]


def test_the_backbone_may_have_a_rate_of_its_own() -> None:
    model = make(VIT, {"name": "full", "backbone_rate": 0.1})
    expected = {name: (0.1 if name.startswith("backbone.") else 1.0, None) for name, _ in model.named_parameters()}
    assert rates(model) == expected
    assert len(model.parameter_groups()) == 2


def test_a_transformers_rates_are_those_of_timm() -> None:
    model = make(VIT, DECAY)
    whole = timm.create_model("test_vit")
    names = {parameter: name for name, parameter in whole.named_parameters()}
    expected = {}
    no_decay = whole.no_weight_decay()
    for group in param_groups_layer_decay(whole, 0.05, no_weight_decay_list=no_decay, layer_decay=0.5):
        for parameter in group["params"]:
            decays = None if group["weight_decay"] else 0.0
            expected[f"backbone.body.{names[parameter]}"] = (group["lr_scale"], decays)
    actual = rates(model)
    ours = {name: value for name, value in actual.items() if name.startswith("backbone.")}
    assert len(ours) > 50
    assert ours == {name: value for name, value in expected.items() if "head." not in name}
    assert actual["classifier.scores.weight"] == (1.0, None)
    assert actual["classifier.scores.bias"] == (1.0, 0.0)


@pytest.mark.parametrize(
    ("backbone", "layers"),
    [
        # A stem and the blocks: 3 of tiny, 3 + 4 + 6 + 3 of ResNet-50, 1 + 2 + 4 + 2 with 3 downsamplings of ConvNeXt.
        ({"name": "tiny", "width": 8}, 4),
        ({"name": "resnet50", "output_stride": 32}, 17),
        ({"name": "timm", "arch": "test_convnext", "output_stride": 32}, 1 + 9),
        ({"name": "timm", "arch": "test_resnet", "output_stride": 32}, 1 + 4),
        ({"name": "timm", "arch": "pvt_v2_b0", "output_stride": 32}, 1 + 4),
    ],
    ids=lambda value: value.get("arch", value["name"]) if isinstance(value, dict) else str(value),
)
def test_layers_of_other_backbones(backbone: dict[str, Any], layers: int) -> None:
    model = make(backbone, DECAY | {"backbone_rate": 0.1, "decay_vectors": True})
    scales = {name: scale for name, (scale, _) in rates(model).items() if name.startswith("backbone.")}
    assert set(scales) == {name for name, _ in model.named_parameters() if name.startswith("backbone.")}
    assert sorted(set(scales.values())) == pytest.approx([0.1 * 0.5**n for n in range(layers, 0, -1)])
    ordered = list(scales.values())
    assert ordered[0] == min(ordered)
    assert ordered[-1] == max(ordered)
    assert len(model.parameter_groups()) == layers + 1


def test_decay_one_gives_the_backbone_one_rate() -> None:
    groups = make(VIT, DECAY | {"decay": 1.0, "backbone_rate": 0.1, "decay_vectors": True}).parameter_groups()
    assert sorted(group["lr_scale"] for group in groups) == [0.1, 1.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decay": 0.0}, r"model\.tuning\.decay should lie in \(0, 1\], but is 0\.0"),
        ({"backbone_rate": 0.0}, r"model\.tuning\.backbone_rate should be above 0"),
        ({"backbone_rate": -1.0}, r"model\.tuning\.backbone_rate should be above 0, but is -1\.0"),
        ({"name": "layer_deacy"}, r"unknown tuning 'layer_deacy'\. Did you mean 'layer_decay'"),
        ({"decy": 1.0}, r"model\.tuning: unknown option 'decy'"),
    ],
)
def test_faults_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(VIT, DECAY | changes)


def test_a_frozen_backbone_keeps_weights_and_statistics() -> None:
    model = make({"name": "tiny", "width": 8}, {"name": "frozen"}).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameter_groups(), lr=0.1)
    logits = model.maps(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)).logits
    logits.square().sum().backward()
    optimizer.step()
    assert not model.backbone.training
    assert model.classifier.training
    changed = {name.partition(".")[0] for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert changed == {"classifier", "decoder"}
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())
