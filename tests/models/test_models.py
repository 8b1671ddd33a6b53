"""What every network must do, checked on the small backbone; every backbone of the config is built and run once."""

import copy
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from dmtc.core.errors import ConfigError
from dmtc.models import BACKBONES, MODELS, Normalization, SegmentationModel, build_model
from dmtc.models.normalization import caffe, imagenet
from dmtc.models.projection import PUBLISHED
from registered import own_names

CONF = Path(__file__).parents[2] / "conf" / "model"
BACKBONE_FILES = sorted((CONF / "backbone").glob("*.yaml"))


def load(path: Path) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items() if key != "defaults"}


def spec_with(backbone: Mapping[str, Any], **changes: object) -> dict[str, Any]:
    published = {"aspp_rates": [6, 12, 18, 24], "aspp_branches": 4}
    return {**load(CONF / "deeplabv2.yaml"), **published, "backbone": backbone, **changes}


def tiny_model(projection: bool = True, seed: int = 0, **changes: object) -> SegmentationModel:
    return build_model(spec_with({"name": "tiny", "width": 8}, **changes), 5, projection, seed)


def images(*size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=generator)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("path", BACKBONE_FILES, ids=lambda path: path.stem)
def test_every_configured_backbone_runs_and_trains(path: Path) -> None:
    model = build_model(spec_with(load(path)), num_classes=5, projection=False, seed=0)
    shapes = []
    model.backbone.register_forward_hook(lambda module, given, features: shapes.append(features.shape))
    logits = model(images(64, 64)[:1])
    cells = -(-64 // model.stride)
    assert shapes == [(1, model.backbone.channels, cells, cells)]
    assert logits.shape == (1, 5, 64, 64)
    logits.square().mean().backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("path", [*CONF.glob("*.yaml"), *BACKBONE_FILES], ids=lambda path: path.stem)
def test_config_gives_exactly_the_options_of_the_builder(path: Path) -> None:
    registry = MODELS if path.parent == CONF else BACKBONES
    options = load(path)
    builder = registry.builder(options.pop("name"))
    if registry is MODELS:
        assert set(options.pop("correlation")) == {"channels", "dropout"}
        of_other_code = options.get("backbone", "") is None  # whose last maps may be large
        assert options.pop("projection") == ({"width": 128, "kernel": 1} if of_other_code else PUBLISHED)
        options = {key: value for key, value in options.items() if key not in ("backbone", "weights")}
    assert set(options) == set(inspect.signature(builder).parameters) - registry.runtime


def test_every_registered_backbone_is_in_the_config() -> None:
    assert {load(path)["name"] for path in BACKBONE_FILES} == own_names(BACKBONES)


@pytest.mark.parametrize("size", [(64, 64), (61, 97), (33, 70), (5, 4)])
def test_logits_have_the_size_of_the_images(size: tuple[int, int]) -> None:
    model = tiny_model()
    maps = model.maps(images(*size))
    low = [-(-extent // model.stride) for extent in size]
    assert maps.logits.shape == (2, 5, *low)
    assert maps.embedding is not None
    assert maps.embedding.shape == (2, 150, *low)
    assert model(images(*size)).shape == (2, 5, *size)


def test_logits_are_enlarged_with_aligned_corners() -> None:
    model = tiny_model().eval()
    low, full = model.maps(images(33, 41)).logits, model(images(33, 41))
    # 33 = 4 * 8 + 1 and 41 = 4 * 10 + 1: with aligned corners every cell sits exactly on a pixel.
    torch.testing.assert_close(full[..., ::4, ::4], low)


@pytest.mark.parametrize("branches", [1, 2, 4])
def test_gradient_reaches_every_trainable_parameter(branches: int) -> None:
    model = tiny_model(aspp_branches=branches)
    maps = model.maps(images(48, 48))
    assert maps.embedding is not None
    (maps.logits.square().mean() + maps.embedding.square().mean()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {f"classifier.convs.{i}.{kind}" for i in range(branches, 4) for kind in ("weight", "bias")}


def test_logits_are_the_sum_of_the_chosen_branches() -> None:
    model = tiny_model(aspp_branches=3).eval()
    features = torch.randn(1, 8, 9, 9)
    convs = model.classifier.convs
    torch.testing.assert_close(model.classifier(features), convs[0](features) + convs[1](features) + convs[2](features))


def test_embedding_is_computed_in_training_only_unless_asked() -> None:
    model = tiny_model().eval()
    calls = []
    assert model.projection is not None
    model.projection.register_forward_hook(lambda *_: calls.append(1))
    assert model.maps(images(16, 16)).embedding is None
    model(images(16, 16))
    model.train()(images(16, 16))
    assert not calls
    assert model.maps(images(16, 16)).embedding is not None
    assert model.maps(images(16, 16), embedding=False).embedding is None
    assert model.eval().maps(images(16, 16), embedding=True).embedding is not None
    assert len(calls) == 2


def test_no_projection_head_without_a_loss_that_needs_it() -> None:
    model = tiny_model(projection=False)
    assert model.projection is None
    assert model.maps(images(16, 16)).embedding is None


def test_uint8_and_unit_float_images_agree() -> None:
    model = tiny_model().eval()
    torch.testing.assert_close(model(images(32, 32)), model(images(32, 32).double() / 255), rtol=1e-5, atol=1e-6)


def test_mixed_precision_still_returns_float32() -> None:
    model = tiny_model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = model.maps(images(32, 32))
    assert maps.embedding is not None
    assert maps.logits.dtype == maps.embedding.dtype == torch.float32


def test_channels_last_changes_nothing() -> None:
    model = tiny_model().eval()
    expected = model(images(32, 32))
    actual = copy.deepcopy(model).to(memory_format=torch.channels_last)(
        images(32, 32).contiguous(memory_format=torch.channels_last)
    )
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", [imagenet(), caffe(), Normalization((0.5,) * 3, (0.5,) * 3)])
def test_normalization_of_uint8_equals_that_of_unit_float(rule: Normalization) -> None:
    torch.testing.assert_close(rule(images(4, 4)), rule(images(4, 4).float() / 255))


def test_imagenet_rule_by_hand() -> None:
    pixel = torch.tensor([255, 0, 51], dtype=torch.uint8).reshape(1, 3, 1, 1)
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    torch.testing.assert_close(imagenet()(pixel).flatten(), torch.tensor(expected))


def test_caffe_rule_by_hand() -> None:
    pixel = torch.tensor([200, 100, 50], dtype=torch.uint8).reshape(1, 3, 1, 1)
    blue_green_red = [50 - 104.008, 100 - 116.669, 200 - 122.675]
    torch.testing.assert_close(caffe()(pixel).flatten(), torch.tensor(blue_green_red), rtol=1e-5, atol=1e-4)


def test_fresh_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = tiny_model(seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    second, other = tiny_model(seed=3).state_dict(), tiny_model(seed=4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["backbone.stem.0.weight"], other["backbone.stem.0.weight"])
    assert not torch.equal(first["classifier.convs.0.weight"], other["classifier.convs.0.weight"])


def test_a_projection_head_does_not_change_the_other_fresh_weights() -> None:
    with_head, without = tiny_model(projection=True).state_dict(), tiny_model(projection=False).state_dict()
    assert all(torch.equal(with_head[name], without[name]) for name in without)


def test_a_vision_transformer_takes_images_of_any_size() -> None:
    backbone = {"name": "timm", "arch": "vit_tiny_patch16_224", "output_stride": 16}
    model = build_model(spec_with(backbone), 5, False, 0)
    assert model.maps(images(40, 64)).logits.shape == (2, 5, 3, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aspp_branches": 5}, r"aspp_branches should lie in 1\.\.4.*is 5"),
        ({"aspp_branches": 0}, r"aspp_branches should lie in 1\.\.4.*is 0"),
        ({"aspp_rates": []}, r"aspp_rates should be a list of dilations"),
        ({"aspp_rates": [6, 0]}, r"aspp_rates should be a list of dilations"),
        ({"embedding_channels": 0}, r"embedding_channels should be at least 1"),
        ({"aspp_rate": [6]}, r"unknown option 'aspp_rate'.*Did you mean 'aspp_rates'"),
        ({"num_classes": 3}, r"model\.num_classes is set by the library"),
        ({"backbone": None}, r"model\.backbone should be a mapping"),
        ({"backbone": {"name": "resnet51", "output_stride": 8}}, r"model\.backbone: unknown backbone 'resnet51'"),
        ({"backbone": {"name": "resnet50", "output_stride": 4}}, r"should be 8, 16 or 32, but is 4"),
        ({"backbone": {"name": "tiny", "width": 7}}, r"width should be a positive even number"),
        (
            {"backbone": {"name": "timm", "arch": "resnet5O", "output_stride": 8}},
            r"no 'resnet5O'\. Did you mean resnet50",
        ),
        (
            {"backbone": {"name": "timm", "arch": "resnet18", "output_stride": 4}},
            r"cannot build resnet18 at output_stride 4 \(left alone it has 32\)",
        ),
        (
            {"backbone": {"name": "timm", "arch": "mixer_s16_224", "output_stride": 16}},
            r"cannot build mixer_s16_224 at output_stride 16 for images of any size",
        ),
    ],
)
def test_faults_of_a_specification_are_named(changes: dict[str, Any], message: str) -> None:
    spec = {**spec_with({"name": "tiny", "width": 8}), **changes}
    with pytest.raises(ConfigError, match=message):
        build_model(spec, 5, True, 0)


def test_model_and_backbone_faults_come_in_one_message() -> None:
    with pytest.raises(ConfigError, match=r"'aspp_branchs'.*'widht'"):
        build_model(spec_with({"name": "tiny", "widht": 8}, aspp_branchs=2), 5, True, 0)


def test_the_whole_network_compiles_without_a_graph_break() -> None:
    model = tiny_model().eval()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images(32, 32)), model(images(32, 32)))
