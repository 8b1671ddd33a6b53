"""Networks of segmentation_models_pytorch and any module from images to logits."""

import copy
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

import dmtc
import dmtc.engine.step
from dmtc.core.errors import ConfigError, DataError
from dmtc.engine.checks import settle
from dmtc.models import NETWORKS, SegmentationModel, build_model, load_weights
from marks import slow_but

PARTS = {
    "embedding_channels": 4,
    "projection": {"width": 4, "kernel": 1},
    "correlation": {"channels": 4, "dropout": 0.0},
}
SMALL_SMP = {
    "encoder": "tu-tf_mobilenetv3_small_minimal_100",
    "options": {"encoder_depth": 3, "decoder_channels": [8, 8, 8]},
}
ARCHITECTURES = [name for name in smp.MODEL_ARCHITECTURES_MAPPING if name != "dpt"]


class Small(nn.Module):
    """An encoder with two maps, and a head; `skip` adds what the image itself gives."""

    def __init__(self, *, num_classes: int, width: int = 4, skip: bool = False, name: str = "encoder") -> None:
        super().__init__()
        self.add_module(name, Maps(width))
        self.name, self.head = name, nn.Conv2d(width, num_classes, 1)
        self.skip = nn.Conv2d(3, num_classes, 4, stride=4) if skip else None

    def forward(self, images: Tensor) -> Tensor:
        logits = self.head(getattr(self, self.name)(images)["deep"])
        return logits if self.skip is None else logits + self.skip(images)


class Maps(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, width, 2, 2), nn.Conv2d(width, width, 2, 2)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        first = self.first(images)
        return OrderedDict(first=first, deep=self.norm(self.second(first)).relu())


NETWORKS.register("test_small")(Small)


def network(projection: bool = False, correlation: bool = False, **changes: Any) -> SegmentationModel:
    spec = {"name": "torch_module", "network": "test_small", "options": {}, "features": None, "multiple": 1}
    return build_model({**spec, **PARTS, **changes}, 3, projection, 0, correlation=correlation)


def of_smp(arch: str = "unet", projection: bool = False, correlation: bool = False, **changes: Any) -> Any:
    spec = {"name": "smp", "arch": arch, **SMALL_SMP, **PARTS, **changes}
    return build_model(spec, 3, projection, 0, correlation=correlation)


def images(side: int = 64) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def doubled(maps: list[Tensor]) -> list[Tensor]:
    return [torch.cat([each, 0 * each]) for each in maps]


@pytest.mark.parametrize("arch", slow_but(ARCHITECTURES, quick=["unet", "fpn"]))
def test_networks_of_smp_return_what_smp_returns(arch):
    encoder = {"encoder": "mit_b0" if arch == "segformer" else SMALL_SMP["encoder"], "options": {}}
    model = of_smp(arch, True, True, **encoder).eval()
    theirs = smp.create_model(arch, encoder["encoder"], encoder_weights=None, classes=3).eval()
    theirs.encoder, theirs.decoder = model.backbone.encoder, model.decoder.decoder
    theirs.segmentation_head[0] = model.classifier
    with torch.no_grad():
        torch.testing.assert_close(model(images(128)), theirs(model.backbone.normalization(images(128))))
        maps = model.maps(images(128), True, doubled, True)
    cells = int(128 / model.stride)
    assert maps.logits.shape == (4, 3, cells, cells)
    assert maps.embedding is not None
    assert maps.embedding.shape == (4, 4, cells, cells)
    assert maps.correlated is not None
    assert not torch.equal(maps.logits[0], maps.logits[2])


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"arch": "unett"}, "model.arch: smp has no network 'unett'. Did you mean 'unet'?"),
        ({"arch": "dpt"}, "take ours, model=dpt"),
        ({"encoder": "resnet3"}, "model.encoder: smp has no encoder 'resnet3'. Did you mean 'resnet34'?"),
        ({"options": {"classes": 4}}, "model.options: Unet has no option 'classes'"),
        ({"options": {"encoder_depth": 9}}, "smp cannot build Unet with the encoder"),
    ],
)
def test_what_smp_cannot_build_is_told_in_a_line(changes, line):
    with pytest.raises(ConfigError) as error:
        of_smp(**changes)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_smp_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "segmentation_models_pytorch", None)
    with pytest.raises(ConfigError, match=r"dmtc\[smp\]"):
        of_smp()


def test_weights_that_smp_publishes_come_with_their_normalization(monkeypatch):
    """Without a connection: what smp downloads is replaced."""
    plain = smp.encoders.get_encoder
    rule = {"input_space": "BGR", "input_range": [0, 255], "mean": [51.0, 51.0, 51.0], "std": [255.0] * 3}
    monkeypatch.setattr(smp.encoders, "get_encoder", lambda name, depth, weights: plain("mobileone_s0", depth=depth))
    monkeypatch.setattr(smp.encoders, "get_preprocessing_params", lambda name: rule)
    model = of_smp(encoder="mobileone_s0")
    report = load_weights(model, "imagenet")
    assert report.backbone_matched == report.backbone_tensors > 0
    assert model.backbone.normalization.mean.tolist() == pytest.approx([0.2] * 3)
    assert model.backbone.normalization.channel_order.tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    "returned", [lambda x: {"out": x}, lambda x: {"logits": x}, lambda x: (x, 1), lambda x: SimpleNamespace(logits=x)]
)
def test_logits_are_found_in_what_networks_return(monkeypatch, returned):
    plain = Small.forward
    expected = network().eval()(images())
    monkeypatch.setattr(Small, "forward", lambda self, x: returned(plain(self, x)))
    torch.testing.assert_close(network().eval()(images()), expected)


@pytest.mark.parametrize(
    ("returned", "line"),
    [
        (
            lambda x: x.mean(),
            "should return logits (B, C, h, w), or them as `out` or `logits`, but returned a tensor ()",
        ),
        (lambda x: {"masks": x}, "but returned a dict"),
        (lambda x: x[:, :2], "should return logits of 3 classes"),
        (lambda x: x.reshape(-1, 7), "fails on a normalized image (2, 3, 64, 64) (RuntimeError"),
    ],
)
def test_what_is_no_logits_is_told_in_a_line(monkeypatch, returned, line):
    plain = Small.forward
    monkeypatch.setattr(Small, "forward", lambda self, x: returned(plain(self, x)))
    with pytest.raises(ConfigError) as error:
        network()
    assert line in str(error.value)


def test_features_give_embedding_correlation_and_perturbed_logits():
    model = network(True, True).eval()
    maps = model.maps(images(), True, doubled, True)
    assert maps.embedding is not None
    assert maps.embedding.shape == (4, 4, 16, 16)
    assert maps.alike is not None
    torch.testing.assert_close(maps.logits[:2], model.maps(images()).logits)
    assert not torch.equal(maps.logits[:2], maps.logits[2:])
    model.try_perturbing()
    twin = copy.deepcopy(model)
    twin.maps(images(), True, doubled)
    assert model._tap.deepest is None
    torch.testing.assert_close(twin(images()), model(images()))


def test_a_network_without_features_says_what_is_missing():
    name = {"options": {"name": "trunk"}}
    assert network(**name)(images()).shape == (2, 3, 64, 64)
    for given in ({"projection": True}, {"correlation": True}, {"tuning": {"name": "frozen"}}):
        with pytest.raises(ConfigError, match=r"no part is called backbone or encoder; name .* model\.features=PART"):
            network(**name, **given)
    with pytest.raises(ConfigError, match=r"views.perturbation takes feature maps"):
        network(**name).try_perturbing()
    network(True, features="trunk", **name).try_perturbing()
    with pytest.raises(ConfigError, match="has no part 'trunc'; its parts are trunk, head"):
        network(features="trunc", **name)


def test_features_that_the_rest_does_not_start_from_are_not_perturbed():
    model = network(options={"skip": True})
    with pytest.raises(ConfigError, match=r"adds rows to what 'encoder' returns, and the rest fails"):
        model.try_perturbing()
    assert model.training


def test_the_part_with_features_is_what_a_tuning_calls_the_backbone():
    slower = network(tuning={"name": "full", "backbone_rate": 0.1})
    rates = {group["lr_scale"]: len(group["params"]) for group in slower.parameter_groups()}
    assert rates == {0.1: 6, 1.0: 2}
    frozen = network(tuning={"name": "frozen"})
    assert {name for name, one in frozen.named_parameters() if one.requires_grad} == {
        "backbone.network.head.weight",
        "backbone.network.head.bias",
    }
    assert not frozen.extractor.training
    assert frozen.backbone.network.head.training


def test_a_builder_that_can_downloads_its_weights_only_to_start_from_them():
    asked = []

    def pretrained_small(*, num_classes: int, pretrained: bool) -> nn.Module:
        asked.append(pretrained)
        made = Small(num_classes=num_classes)
        return made if not pretrained else made.apply(lambda part: [nn.init.ones_(one) for one in part.parameters()])

    NETWORKS.register("test_pretrained")(pretrained_small)
    model = network(network="test_pretrained")
    assert asked == [False]
    load_weights(model, "imagenet")
    assert asked == [False, True]
    assert all((one == 1).all() for one in model.backbone.network.parameters())


def test_a_backbone_that_the_network_would_not_use_is_refused_and_a_recipes_falls_away():
    with pytest.raises(ConfigError, match=r"model/backbone: model=smp has a backbone of its own; leave it out"):
        dmtc.compose(["model=smp", "model/backbone=resnet50"])
    with pytest.raises(ConfigError, match=r"model_b/backbone: model_b=torch_module has a backbone of its own"):
        dmtc.compose(["model_b=torch_module", "model_b/backbone=resnet50"])
    config = settle(dmtc.compose(["experiment=unimatch_voc_r101", "model=smp"]))
    assert config["model"]["backbone"] is None
    with pytest.raises(ConfigError, match=r"model.network: unknown network 'test_smal'. Did you mean 'test_small'"):
        settle(dmtc.compose(["model=torch_module", "model.network=test_smal"]))
    with pytest.raises(ConfigError, match=r"model.options: unknown option 'wide'"):
        settle(dmtc.compose(["model=torch_module", "model.network=test_small", "+model.options.wide=3"]))


def run_of(small: list[str], folder, *given: str) -> "dmtc.Run":
    rest = [one for one in small if "backbone" not in one]
    return dmtc.train([*rest, "model=torch_module", "model.network=test_small", *given], folder)


def test_a_run_with_a_module_is_resumed_and_found_again_or_says_what_it_needs(small, tmp_path, monkeypatch):
    whole = run_of(small, tmp_path / "whole", "schedule.rounds.label_ratios=[1.0]")
    plain, calls = dmtc.engine.step.total_loss, []

    def stopping(*given, **named):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return plain(*given, **named)

    monkeypatch.setattr(dmtc.engine.step, "total_loss", stopping)
    with pytest.raises(KeyboardInterrupt):
        run_of(small, tmp_path / "stopped", "schedule.rounds.label_ratios=[1.0]")
    monkeypatch.setattr(dmtc.engine.step, "total_loss", plain)
    resumed = dmtc.resume(tmp_path / "stopped")
    assert resumed.results["miou"] == whole.results["miou"]
    image = np.zeros((40, 30, 3), np.uint8)
    loaded = dmtc.Run.load(tmp_path / "stopped")
    np.testing.assert_array_equal(loaded.predict(image), whole.predict(image))
    monkeypatch.delitem(NETWORKS._builders, "test_small")
    with pytest.raises(DataError) as error:
        dmtc.Run.load(tmp_path / "stopped")
    assert "needs a module of yours (import it first, or imports=[MODULE]): model.network: unknown" in str(error.value)


WANTING = ["unimatch_v2", "u2pl", "reco", "corrmatch", "unimatch", "dmtc"]
"""Methods that want more of a network than logits."""
BOTH = slow_but(
    [(model, method) for model in ("module", "smp") for method in (*WANTING, "supervised")],
    quick=[("module", "unimatch_v2"), ("smp", "supervised")],
)


@pytest.mark.parametrize("both", BOTH, ids="-".join)
def test_methods_find_in_the_network_what_they_need(small, tmp_path, both):
    model, method = both
    if model == "module":
        run = run_of(small, tmp_path / "run", f"method={method}")
    else:
        rest = [one for one in small if "backbone" not in one]
        options = "+model.options={encoder_depth: 3, decoder_channels: [8, 8, 8]}"
        encoder = f"model.encoder={SMALL_SMP['encoder']}"
        run = dmtc.train([*rest, "model=smp", encoder, options, f"method={method}"], tmp_path / "run")
    assert run.results["miou"]["a"]["last"] is not None
    loaded = dmtc.Run.load(tmp_path / "run")
    image = np.zeros((40, 30, 3), np.uint8)
    np.testing.assert_array_equal(loaded.predict(image), run.predict(image))
