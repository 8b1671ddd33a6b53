"""Every head on a backbone of every family: size, gradient, one step, and what does not go together."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf

from dmtc.config.folder import config_folder
from dmtc.core.errors import ConfigError
from dmtc.models import SegmentationModel, build_model
from dmtc.models.backbones.tiny import Tiny
from dmtc.models.base import Backbone
from dmtc.schedule import OPTIMIZERS

# The smallest of each family; timm's `test_` networks have the layout of their family at a few channels.
FAMILIES: dict[str, dict[str, Any]] = {
    "resnet": {"name": "timm", "arch": "test_resnet", "output_stride": 16},
    "torchvision": {"name": "resnet50", "output_stride": 8},
    "convnext": {"name": "timm", "arch": "test_convnext", "output_stride": 32},
    "efficientnet": {"name": "timm", "arch": "test_efficientnet", "output_stride": 16},
    "mobilenetv3": {"name": "timm", "arch": "mobilenetv3_small_050", "output_stride": 16},
    "swin": {"name": "timm", "arch": "swin_tiny_patch4_window7_224", "output_stride": 32},
    "pvt_v2": {"name": "timm", "arch": "pvt_v2_b0", "output_stride": 32},
    "vit": {"name": "vit", "arch": "test_vit", "norm": True},
    "vit_registers": {"name": "vit", "arch": "test_vit2", "norm": False},
    "dinov2": {"name": "vit", "arch": "vit_small_patch14_dinov2.lvd142m", "norm": True},
    "dinov3": {"name": "vit", "arch": "vit_tiny_patch16_dinov3_qkvb", "norm": True},
}
PLAIN = ("vit", "vit_registers", "dinov2", "dinov3")
LARGE = ("torchvision", "swin", "dinov2")
HEADS = ("deeplabv2", "deeplabv3plus", "dpt", "linear", "upernet", "segformer")
PYRAMIDS = ("deeplabv3plus", "segformer")
FITTING = [(f, h) for f in FAMILIES for h in HEADS if not (f in PLAIN and h in PYRAMIDS)]
MISFITS = [(f, h) for f in PLAIN if f not in LARGE for h in PYRAMIDS]
FAST = {("swin", "segformer"), ("dinov2", "dpt")}


def spec(family: str, head: str, **changes: Any) -> dict[str, Any]:
    options = OmegaConf.to_container(OmegaConf.load(config_folder() / "model" / f"{head}.yaml"), resolve=False)
    assert isinstance(options, dict)
    del options["defaults"]
    if head == "deeplabv2":
        options |= {"aspp_rates": [1, 2], "aspp_branches": 2}
    small = {"channels": 16, "low_channels": 8, "embedding_channels": 12}
    options |= {key: value for key, value in small.items() if key in options}
    return {str(key): value for key, value in options.items()} | {"backbone": FAMILIES[family]} | changes


def build(family: str, head: str, projection: bool = True, **changes: Any) -> SegmentationModel:
    return build_model(spec(family, head, **changes), num_classes=5, projection=projection, seed=0)


def images(*size: int) -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.sampled(8)
@pytest.mark.parametrize(
    ("family", "head"),
    [pytest.param(f, h, marks=pytest.mark.slow if f in LARGE and (f, h) not in FAST else ()) for f, h in FITTING],
)
def test_every_fitting_pair_trains_one_step_and_takes_any_size(family: str, head: str) -> None:
    model = build(family, head)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    adamw = {"name": "adamw", "betas": [0.9, 0.999], "weight_decay": 0.01, "decay_vectors": True}
    optimizer = OPTIMIZERS.build(adamw, parameters=model.parameter_groups(), learning_rate=0.01)
    maps = model.maps(images(64, 64))
    assert maps.embedding is not None
    assert maps.logits.shape[:2] == (2, 5)
    assert maps.embedding.shape == (2, 12, *maps.logits.shape[2:])
    # The embedding's mean would be a constant under some norms: its square depends on all that it is made from.
    (F.cross_entropy(maps.logits, maps.logits.detach().argmin(dim=1)) + maps.embedding.square().mean()).backward()
    assert all(value.grad is not None for value in model.parameters() if value.requires_grad)
    optimizer.step()
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    # timm starts a residual network's last norm at zero, so that the first step finds nothing to learn in its block.
    assert len(changed) > 0.6 * len(before)
    assert {"backbone", "classifier", "projection"} <= {name.partition(".")[0] for name in changed}
    model.eval()
    with torch.inference_mode():
        for size in [(61, 97), (5, 4)]:
            logits = model(images(*size))
            assert logits.shape == (2, 5, *size)
            assert logits.isfinite().all()


@pytest.mark.parametrize(("family", "head"), MISFITS)
def test_a_head_that_needs_a_pyramid_refuses_a_plain_transformer_in_one_line(family: str, head: str) -> None:
    with pytest.raises(
        ConfigError, match=f"^model={head} needs feature maps at several strides, but the backbone"
    ) as e:
        build(family, head)
    assert "choose model=dpt, upernet or linear for it" in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("head", ["segformer", "upernet"])
def test_the_maps_of_the_smallest_backbone_suit_a_head_that_merges(head: str) -> None:
    backbone = {"name": "tiny", "width": 8}
    model = build("vit", head, backbone=backbone)
    assert model.maps(images(32, 48)).logits.shape == (2, 5, 8, 12)
    tiny = model.eval().backbone
    maps = tiny.features(images(32, 48).float(), range(5))
    assert [(each.shape[1], 32 // each.shape[2]) for each in maps] == [tuple(level) for level in tiny.levels]
    assert torch.equal(maps[-1], tiny(images(32, 48).float()))


@pytest.mark.parametrize("head", ["deeplabv3plus", "dpt", "upernet", "segformer"])
def test_a_head_that_needs_levels_refuses_a_backbone_with_one(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tiny, "levels", Backbone.levels)
    with pytest.raises(
        ConfigError, match=f"^model={head} needs .*the backbone Tiny has .*choose another model/backbone"
    ):
        build("vit", head, backbone={"name": "tiny", "width": 8})


def test_one_map_suits_the_heads_that_need_no_more() -> None:
    for head in ("deeplabv2", "linear"):
        model = build("vit", head, backbone={"name": "tiny", "width": 8})
        assert model.maps(images(32, 32)).logits.shape == (2, 5, 8, 8)


@pytest.mark.parametrize(
    ("head", "changes", "message"),
    [
        ("dpt", {"levels": [0, 1, 2, 3]}, r"model\.levels should be null or 4 ascending numbers from 0 to 5, the last"),
        ("dpt", {"levels": [3, 5]}, r"model\.levels should be null or 4 ascending numbers.*is \[3, 5\]"),
        ("linear", {"levels": []}, r"model\.levels should be null or ascending numbers"),
        ("linear", {"levels": [-1]}, r"model\.levels should be null or ascending numbers"),
        ("upernet", {"channels": 0}, r"model\.channels should be at least 1, but is 0"),
        ("upernet", {"dropout": 1.0}, r"model\.dropout should lie in \[0, 1\), but is 1\.0"),
        ("linear", {"embedding_channels": 0}, r"model\.embedding_channels should be at least 1"),
        ("dpt", {"channel": 8}, r"unknown option 'channel'\. Did you mean 'channels'"),
    ],
)
def test_faults_of_heads_are_named(head: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build("vit", head, **changes)


def test_linear_takes_maps_of_one_stride() -> None:
    assert build("vit", "linear", levels=[2, 5]).classifier.scores.in_channels == 2 * 64
    with pytest.raises(ConfigError, match=r"maps of one stride for model=linear, but \[3, 4\] .* strides 16, 32"):
        build("resnet", "linear", levels=[3, 4], backbone=FAMILIES["resnet"] | {"output_stride": 32})


def test_levels_are_spread_over_a_plain_transformer_and_the_deepest_of_a_pyramid() -> None:
    assert build("dinov3", "dpt").levels == (2, 5, 8, 11)
    assert build("vit", "upernet", levels=[1, 2, 3, 5]).levels == (1, 2, 3, 5)
    assert build("resnet", "segformer").levels == (1, 2, 3, 4)
    assert build("resnet", "deeplabv3plus").levels == (1, 4)


@pytest.mark.parametrize("family", ["resnet", "convnext", "efficientnet", "mobilenetv3", "pvt_v2"])
def test_levels_of_a_backbone_are_what_they_say(family: str) -> None:
    backbone = build(family, "segformer").backbone.eval()
    maps = backbone.features(torch.zeros(1, 3, 64, 64), range(len(backbone.levels)))
    assert [(each.shape[1], 64 // each.shape[2]) for each in maps] == list(backbone.levels)
    torch.testing.assert_close(backbone(torch.zeros(1, 3, 64, 64)), maps[-1])
    assert (backbone.channels, backbone.stride) == backbone.levels[-1]


def test_levels_of_torchvisions_resnet() -> None:
    backbone = build("torchvision", "deeplabv3plus").backbone.eval()
    maps = backbone.features(torch.zeros(1, 3, 32, 32), range(5))
    assert [(each.shape[1], 32 // each.shape[2]) for each in maps] == list(backbone.levels)
    assert [level.stride for level in backbone.levels] == [2, 4, 8, 8, 8]
    torch.testing.assert_close(backbone(torch.zeros(1, 3, 32, 32)), maps[-1])


def test_a_transformer_sees_its_last_norm_and_no_class_token() -> None:
    backbone = build("vit", "linear").backbone.eval()
    x = torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    tokens = backbone.body.forward_features(x)  # timm's own: class token first, last norm applied
    torch.testing.assert_close(backbone(x), tokens[:, 1:].transpose(1, 2).reshape(1, 64, 3, 4))
    unnormed = build("vit", "linear", backbone=FAMILIES["vit"] | {"norm": False}).backbone
    assert not any(name.startswith("body.norm.") for name, _ in unnormed.named_parameters())


def test_position_embeddings_are_interpolated_to_the_image() -> None:
    """At another size than the weights' own, the embedding must still tell places apart as it does at its own."""
    backbone = build("vit", "linear").backbone.eval()
    with torch.no_grad():
        backbone.body.pos_embed.zero_()
        grid = backbone.body.patch_embed.grid_size
        ramp = torch.linspace(-1, 1, grid[1]).repeat(grid[0], 1).flatten()
        backbone.body.pos_embed[0, 1:, 0] = ramp
    seen = []
    backbone.body.blocks[0].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    with torch.no_grad():
        backbone.body.patch_embed.proj.weight.zero_()
        backbone.body.patch_embed.proj.bias.zero_()
        backbone(torch.zeros(1, 3, 32, 96))
    row = seen[0][0, 1:, 0].reshape(2, 6)
    torch.testing.assert_close(row[0], row[1])
    assert (row[0].diff() > 0.2).all()


def test_images_become_a_multiple_of_the_patch() -> None:
    model = build("dinov3", "linear").eval()
    assert model.maps(images(33, 48)).logits.shape == (2, 5, 3, 3)
    exact = images(48, 48)
    torch.testing.assert_close(
        model.maps(exact).logits, model.classifier(model.decoder([model.backbone(model.backbone.normalization(exact))]))
    )


@pytest.mark.parametrize(
    "arch", ["resnet18", "swin_tiny_patch4_window7_224", "efficientnet_b0", "beit_base_patch16_224"]
)
def test_only_plain_transformers_of_any_size_are_one(arch: str) -> None:
    with pytest.raises(
        ConfigError, match=f"{arch} is not a plain vision transformer that takes images of any size; use"
    ):
        build("vit", "linear", backbone={"name": "vit", "arch": arch, "norm": True})


@pytest.mark.parametrize(
    ("family", "head"), [pytest.param("vit", "dpt", marks=pytest.mark.slow), ("resnet", "deeplabv3plus")]
)
def test_networks_with_decoders_compile_without_a_graph_break(family: str, head: str) -> None:
    model = build(family, head).eval()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images(64, 64)), model(images(64, 64)))


def test_one_image_a_part_trains_too() -> None:
    for head in ("deeplabv3plus", "upernet"):
        model = build("resnet", head).train()
        model.maps(images(64, 64)[:1]).logits.sum().backward()
        gradients = [value.grad for name, value in model.named_parameters() if not name.startswith("projection")]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients), head
        assert any(gradient.any() for gradient in gradients), head
