"""Starting weights: what is recognized, what is reported, and what is refused."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from dmtc.core.errors import WeightsError
from dmtc.models import TUNINGS, SegmentationModel, WeightsReport, build_model, load_weights, save_weights
from dmtc.models.normalization import caffe, imagenet

MOBILENET = Path(__file__).parents[3] / "shared" / "weights"


def make(projection: bool = True, seed: int = 0, num_classes: int = 5, **backbone: Any) -> SegmentationModel:
    spec = {
        "name": "deeplabv2",
        "aspp_rates": [1, 2],
        "aspp_branches": 2,
        "embedding_channels": 6,
        "backbone": backbone or {"name": "tiny", "width": 8},
    }
    return build_model(spec, num_classes, projection, seed)


def backbone_state(model: SegmentationModel) -> dict[str, Tensor]:
    """As a foreign file has it: without the normalization rule."""
    state = model.backbone.state_dict()
    return {name: value for name, value in state.items() if not name.startswith("normalization.")}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_no_source_keeps_the_fresh_weights() -> None:
    model = make()
    report = load_weights(model, None)
    assert equal(model.state_dict(), make().state_dict())
    assert report == WeightsReport(None)
    assert report.summary() == "fresh weights"
    assert not report.complete


def test_a_backbone_that_keeps_random_weights_is_told() -> None:
    model = make()
    model.tuning = TUNINGS.build({"name": "frozen"}, "model.tuning")
    assert load_weights(model, None).summary() == (
        "fresh weights, which the backbone keeps, as model/tuning=frozen; model/tuning=full trains it, too"
    )


@pytest.mark.parametrize("compiled", [False, True])
def test_a_saved_network_comes_back_whole(tmp_path: Path, compiled: bool) -> None:
    saved = make(seed=1).to(memory_format=torch.channels_last)
    saved.backbone.normalization.load_state_dict(caffe().state_dict())
    path = tmp_path / "new" / "a.safetensors"
    save_weights(torch.compile(saved) if compiled else saved, path, {"phase": "r1-a"})
    model = make(seed=2)
    report = load_weights(model, str(path))
    assert report.complete
    assert not report.unexpected
    assert report.summary() == "a.safetensors: 40 of 40 backbone tensors matched"
    assert equal(model.state_dict(), saved.state_dict())
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt", "phase": "r1-a"}


def test_saving_replaces_a_file_only_when_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(make(seed=1), path)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save_weights(make(seed=2), path)
    assert os.listdir(tmp_path) == ["a.safetensors"]
    model = make()
    load_weights(model, str(path))
    assert equal(model.state_dict(), make(seed=1).state_dict())


@pytest.mark.parametrize(
    ("beginning", "nesting"),
    [("", []), ("module.", ["state_dict"]), ("encoder.", ["model"]), ("module.student.net.", ["teacher"])],
)
def test_beginnings_and_nestings_of_other_trainers_are_seen_through(
    tmp_path: Path, beginning: str, nesting: list[str]
) -> None:
    source = make(seed=1)
    content: dict[str, Any] = {beginning + name: value for name, value in backbone_state(source).items()}
    content[beginning + "fc.weight"] = torch.zeros(3)
    for name in nesting:
        content = {"epoch": 3, name: content}
    torch.save(content, tmp_path / "theirs.pth")
    model = make(seed=2)
    report = load_weights(model, str(tmp_path / "theirs.pth"))
    assert report.backbone_matched == report.backbone_tensors == 40
    assert report.unexpected == (beginning + "fc.weight",)
    assert set(report.missing) == {name for name, _ in model.named_parameters() if "backbone." not in name} | {
        "projection.1.running_mean",
        "projection.1.running_var",
    }
    assert equal(backbone_state(model), backbone_state(source))


def test_heads_of_another_number_of_classes_stay_fresh_and_are_reported(tmp_path: Path) -> None:
    saved, model = make(seed=1, num_classes=7), make(seed=2)
    save_weights(saved, tmp_path / "a.safetensors")
    report = load_weights(model, str(tmp_path / "a.safetensors"))
    assert set(report.mismatched) == {
        "classifier.convs.0.weight 7x8x3x3 instead of 5x8x3x3",
        "classifier.convs.0.bias 7 instead of 5",
        "classifier.convs.1.weight 7x8x3x3 instead of 5x8x3x3",
        "classifier.convs.1.bias 7 instead of 5",
    }
    assert not report.missing
    assert not report.complete
    assert "; mismatched: classifier.convs." in report.summary()
    assert torch.equal(model.classifier.convs[0].weight, make(seed=2).classifier.convs[0].weight)
    assert equal(model.projection.state_dict(), saved.projection.state_dict())


def test_a_projection_head_without_use_is_reported(tmp_path: Path) -> None:
    save_weights(make(seed=1, projection=True), tmp_path / "a.safetensors")
    report = load_weights(make(projection=False), str(tmp_path / "a.safetensors"))
    assert report.complete
    assert report.unexpected[0] == "projection.0.weight"


def test_published_head_names_are_known_and_caffe_weights_bring_their_rule(tmp_path: Path) -> None:
    source = make(seed=1)
    content = backbone_state(source)
    for i, conv in enumerate(source.classifier.convs):
        content |= {f"layer5.conv2d_list.{i}.{kind}": value for kind, value in conv.state_dict().items()}
    torch.save(content, tmp_path / "coco.pth")
    model = make(projection=False)
    report = load_weights(model, str(tmp_path / "coco.pth"))
    assert report.complete
    assert equal(model.classifier.state_dict(), source.classifier.state_dict())
    assert equal(model.backbone.normalization.state_dict(), caffe().state_dict())


def test_less_than_half_a_backbone_is_refused_and_leaves_the_model_alone(tmp_path: Path) -> None:
    few = dict(list(backbone_state(make(seed=1)).items())[:6])
    torch.save(few, tmp_path / "few.pth")
    model = make()
    with pytest.raises(WeightsError, match=r"^only 5 of 40 backbone tensors in .*few\.pth match the model: .*lacks"):
        load_weights(model, str(tmp_path / "few.pth"))
    assert equal(model.state_dict(), make().state_dict())


def test_a_foreign_file_is_refused_with_names_of_both_sides(tmp_path: Path) -> None:
    save_file({"conv.weight": torch.zeros(2, 2), "a.b": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError) as caught:
        load_weights(make(), str(tmp_path / "other.safetensors"))
    message = str(caught.value)
    assert message.startswith(f"nothing in {tmp_path / 'other.safetensors'} matches the model's backbone: ")
    assert "a.b, conv.weight" in message
    assert "backbone.stem.0.weight" in message
    assert "\n" not in message


class Payload:
    """Something that is not a tensor."""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.pth", None, r"no file of weights at .*absent\.pth"),
        ("broken.safetensors", b"\x00\x01", r"cannot read weights from .*broken\.safetensors"),
        ("broken.pth", b"PK\x03\x04 and nothing more", r"cannot read weights from .*broken\.pth"),
        ("text.pth", b"<html>not found</html>", r"is not a plain file of tensors|cannot read weights"),
        ("empty.pth", b"", r"cannot read weights from .*empty\.pth"),
        ("code.pth", {"model": Payload()}, r"code\.pth is not a plain file of tensors"),
        ("numbers.pth", {"epoch": 3, "loss": 0.5}, r"holds no tensors by name, only 'epoch', 'loss'"),
        ("list.pth", [torch.zeros(1)], r"holds no tensors by name, only a list"),
    ],
)
def test_unusable_files_are_refused_in_one_line(tmp_path: Path, name: str, content: Any, message: str) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        torch.save(content, tmp_path / name)
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(make(), str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_imagenet_weights_of_torchvision_come_from_its_download(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    state = torchvision.models.resnet50(weights=None).state_dict()
    asked = []
    weights = torchvision.models.ResNet50_Weights

    def download(self: Any, **_: object) -> dict[str, Tensor]:
        asked.append(self)
        return state

    monkeypatch.setattr(weights, "get_state_dict", download)
    model = make(name="resnet50", output_stride=8)
    report = load_weights(model, "imagenet")
    assert asked == [weights.IMAGENET1K_V1]
    assert report.backbone_matched == report.backbone_tensors
    assert report.unexpected == ("fc.weight", "fc.bias")
    assert report.summary().startswith("imagenet: 265 of 265 backbone tensors matched")
    assert torch.equal(model.backbone.layer4[2].conv3.weight, state["layer4.2.conv3.weight"])


@pytest.mark.parametrize("arch", ["mobilenetv2_100", "vit_tiny_patch16_224"])
def test_imagenet_weights_of_timm_come_from_its_download(monkeypatch: pytest.MonkeyPatch, arch: str) -> None:
    import timm

    create, asked = timm.create_model, []

    def create_without_network(arch: str, pretrained: bool = False, **options: Any) -> Any:
        asked.append(pretrained)
        return create(arch, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", create_without_network)
    model = make(name="timm", arch=arch, output_stride=16)
    assert not any(asked)
    report = load_weights(model, "imagenet")
    assert asked[-1]
    assert report.backbone_matched == report.backbone_tensors > 100
    assert not report.unexpected


def test_a_failing_download_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(self: Any) -> None:
        raise OSError("Name or service not known\nand more")

    model = make(name="timm", arch="mobilenetv2_100", output_stride=16)
    monkeypatch.setattr(type(model.backbone), "imagenet_state", offline)
    with pytest.raises(
        WeightsError,
        match=r"^the ImageNet weights of mobilenetv2_100 cannot be downloaded \(OSError: Name or service not known\); "
        r"name files \(model\.weights\.a=FILE",
    ):
        load_weights(model, "imagenet")


def test_a_backbone_without_imagenet_weights_says_so() -> None:
    with pytest.raises(WeightsError, match=r"there are no ImageNet weights of Tiny; name files"):
        load_weights(make(), "imagenet")


def test_names_that_timm_flattens_are_matched(tmp_path: Path) -> None:
    import timm

    whole = timm.create_model("convnext_atto", pretrained=False)
    torch.save(whole.state_dict(), tmp_path / "convnext.pth")
    model = make(name="timm", arch="convnext_atto", output_stride=16)
    report = load_weights(model, str(tmp_path / "convnext.pth"))
    assert report.backbone_matched == report.backbone_tensors > 100
    assert set(report.unexpected) == {name for name in whole.state_dict() if name.startswith("head.")}


@pytest.mark.skipif(not MOBILENET.is_dir(), reason="the published MobileNetV2 files are not here")
def test_a_published_mobilenet_fills_its_backbone() -> None:
    model = make(name="timm", arch="mobilenetv2_100", output_stride=16)
    report = load_weights(model, str(MOBILENET / "mobilenetv2_100_timm.safetensors"))
    assert report.backbone_matched == report.backbone_tensors == 255
    assert {name.split(".")[0] for name in report.unexpected} == {"conv_head", "bn2", "classifier"}
    with pytest.raises(WeightsError, match=r"nothing in .* matches the model's backbone"):
        load_weights(model, str(MOBILENET / "mobilenet_v2_torchvision.safetensors"))


def test_a_file_must_have_the_hash_that_its_name_promises(tmp_path: Path) -> None:
    plain = tmp_path / "tiny.pth"
    torch.save(backbone_state(make(seed=1)), plain)
    digest = hashlib.sha256(plain.read_bytes()).hexdigest()
    good = plain.rename(tmp_path / f"tiny-{digest[:8]}.pth")
    assert load_weights(make(), str(good)).sha256 == digest
    bad = good.rename(tmp_path / "tiny-41f33a49.pth")
    with pytest.raises(WeightsError, match=r"SHA-256 that begins with 41f33a49, .* but has .*download it again"):
        load_weights(make(), str(bad))


def test_the_rule_of_renamed_weights_can_be_named(tmp_path: Path) -> None:
    torch.save(backbone_state(make(seed=1)), tmp_path / "renamed.pth")
    model = make()
    load_weights(model, str(tmp_path / "renamed.pth"), "caffe")
    assert equal(model.backbone.normalization.state_dict(), caffe().state_dict())
    save_weights(model, tmp_path / "ours.safetensors")
    other = make()
    load_weights(other, str(tmp_path / "ours.safetensors"))
    assert equal(other.backbone.normalization.state_dict(), caffe().state_dict())
    load_weights(other, str(tmp_path / "ours.safetensors"), "imagenet")
    assert equal(other.backbone.normalization.state_dict(), imagenet().state_dict())


def deep_stem_checkpoint(classes: int = 21) -> dict[str, Any]:
    """As UniMatch and CPS save: a torchvision-like ResNet with a stem of three convolutions, beside another head."""
    import timm

    net = timm.create_model("resnet50s")
    theirs = {f"module.backbone.{name}": value for name, value in net.state_dict().items() if not name.startswith("fc")}
    theirs["module.classifier.weight"] = torch.zeros(classes, 256, 1, 1)
    return {"model": theirs, "optimizer": {}, "epoch": 3}


def test_checkpoints_of_unimatch_fit_the_deep_stem_and_nothing_else(tmp_path: Path) -> None:
    torch.save(checkpoint := deep_stem_checkpoint(), tmp_path / "unimatch.pth")
    model = make(projection=False, name="timm", arch="resnet50s", output_stride=16)
    report = load_weights(model, str(tmp_path / "unimatch.pth"))
    assert report.backbone_matched == report.backbone_tensors
    assert report.unexpected == ("module.classifier.weight",)
    stem = next(value for name, value in model.state_dict().items() if name.endswith("conv1.0.weight"))
    assert torch.equal(stem, checkpoint["model"]["module.backbone.conv1.0.weight"])
    with pytest.raises(WeightsError, match=r"another architecture: .*arch=resnet101s \(or resnet50s\)"):
        load_weights(make(name="resnet50", output_stride=16), str(tmp_path / "unimatch.pth"))


def create_from(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let timm find its pretrained weights in a file, which it then converts and loads as it does with a download."""
    import timm

    create = timm.create_model

    def create_with_file(arch: str, pretrained: bool = False, **options: Any) -> Any:
        overlay = {"pretrained_cfg_overlay": {"file": str(path)}} if pretrained else {}
        return create(arch, pretrained=pretrained, **overlay, **options)

    monkeypatch.setattr(timm, "create_model", create_with_file)


def transformer(**options: Any) -> dict[str, Tensor]:
    import timm

    whole = timm.create_model("test_vit", num_classes=0, **options)
    return {name: torch.randn_like(value) for name, value in whole.state_dict().items()}


@pytest.mark.parametrize(
    ("backbone", "arch"),
    [
        ({"name": "vit", "norm": True}, "test_vit"),
        ({"name": "timm", "output_stride": 32}, "test_convnext"),
        ({"name": "timm", "output_stride": 16}, "mobilenetv3_small_050"),
        ({"name": "timm", "output_stride": 32}, "pvt_v2_b0"),
    ],
)
def test_timm_loads_its_own_weights_into_every_kind_of_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backbone: dict[str, Any], arch: str
) -> None:
    import timm

    whole = timm.create_model(arch)
    torch.save({name: value + 1 for name, value in whole.state_dict().items()}, tmp_path / "published.pth")
    create_from(monkeypatch, tmp_path / "published.pth")
    model = make(projection=False, arch=arch, **backbone)
    report = load_weights(model, "imagenet")
    assert report.backbone_matched == report.backbone_tensors > 50
    assert not report.unexpected
    stem = next(name for name, _ in whole.named_parameters() if name.endswith("weight"))
    ours = next(value for name, value in model.backbone.named_parameters() if name.endswith("weight"))
    assert torch.equal(ours, whole.state_dict()[stem] + 1)


def test_position_embeddings_of_another_image_size_are_interpolated(tmp_path: Path) -> None:
    theirs = transformer(img_size=96)
    torch.save(theirs, tmp_path / "smaller.pth")
    model = make(projection=False, name="vit", arch="test_vit", norm=True)
    report = load_weights(model, str(tmp_path / "smaller.pth"))
    assert report.backbone_matched == report.backbone_tensors
    ours = model.backbone.body.pos_embed
    assert ours.shape[1] == 1 + 10 * 10
    assert theirs["pos_embed"].shape[1] == 1 + 6 * 6
    torch.testing.assert_close(ours[:, 0], theirs["pos_embed"][:, 0])
    torch.testing.assert_close(ours.mean(), theirs["pos_embed"].mean(), rtol=0.1, atol=0.02)
    assert torch.equal(model.backbone.body.blocks[5].mlp.fc1.weight, theirs["blocks.5.mlp.fc1.weight"])


def test_dinov2_weights_as_their_authors_published_them(tmp_path: Path) -> None:
    """They have a mask token, and name the register tokens otherwise."""
    import timm

    whole = timm.create_model("vit_small_patch14_reg4_dinov2", num_classes=0)
    state = {name: torch.randn_like(value) for name, value in whole.state_dict().items()}
    theirs = dict(state)
    theirs["register_tokens"] = theirs.pop("reg_token")
    cls = torch.randn_like(state["cls_token"])
    theirs["cls_token"], theirs["pos_embed"] = state["cls_token"] - cls, torch.cat([cls, state["pos_embed"]], dim=1)
    theirs["mask_token"] = torch.zeros(1, whole.embed_dim)
    torch.save(theirs, tmp_path / "dinov2_vits14_reg4_pretrain.pth")
    model = make(projection=False, name="vit", arch="vit_small_patch14_reg4_dinov2", norm=True)
    report = load_weights(model, str(tmp_path / "dinov2_vits14_reg4_pretrain.pth"))
    assert report.backbone_matched == report.backbone_tensors
    for name in ("reg_token", "cls_token", "pos_embed", "blocks.11.attn.qkv.weight", "norm.weight"):
        torch.testing.assert_close(dict(model.backbone.body.named_parameters())[name].detach(), state[name])


def test_weights_of_the_deepest_map_alone_fit_where_all_maps_are_wanted(tmp_path: Path) -> None:
    backbone = {"name": "timm", "arch": "test_resnet", "output_stride": 16}
    save_weights(deepest := make(projection=False, **backbone), tmp_path / "deepest.safetensors")
    spec = {"name": "deeplabv3plus", "aspp_rates": [1], "channels": 8, "low_channels": 4, "dropout": 0.0}
    all_maps = build_model({**spec, "embedding_channels": 4, "backbone": backbone}, 5, False, seed=1)
    report = load_weights(all_maps, str(tmp_path / "deepest.safetensors"))
    assert report.backbone_matched == report.backbone_tensors
    assert equal(all_maps.backbone.state_dict(), deepest.backbone.state_dict())
