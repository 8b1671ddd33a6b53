"""Builds a network from its spec: backbone, head, and the optional parts beside the classifier."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from dmtc.core.errors import ConfigError
from dmtc.core.registry import raise_faults
from dmtc.models.base import BACKBONES, MODELS, SegmentationModel
from dmtc.models.correlation import CorrelationHead, correlation_faults
from dmtc.models.projection import projection_faults, projection_of
from dmtc.models.tuning import TUNINGS

_PARTS = ("backbone", "tuning", "projection", "correlation", "weights", "normalization")
"""Keys of a spec besides the head's name and options."""

_PLAIN = {"name": "full", "backbone_rate": 1.0}
"""The tuning of a spec that names none: all weights at one rate."""


def model_faults(spec: Mapping[str, Any], where: str, correlation: bool = False) -> list[str]:
    """List every error in the spec of a network, one sentence each, without building anything.

    Args:
        spec: See `build_model`; `weights` and `normalization` are ignored.
        where: The spec's place in the config, for messages, for example "model".
        correlation: Whether a loss needs the correlation of cells.

    Examples:
        >>> import dmtc
        >>> spec = {"name": "linear", "levels": None, "dropout": 0.1, "embedding_channels": 8}
        >>> dmtc.models.model_faults(spec | {"backbone": {"name": "tiny"}}, "model")
        ["model.backbone: missing option 'width'"]
    """
    faults = MODELS.faults(head_options(spec), where)
    brings_backbone = spec.get("name") in MODELS.names() and _brings_backbone(spec)
    for part, registry in (("backbone", BACKBONES), ("tuning", TUNINGS)):
        inner = spec.get(part, _PLAIN if part == "tuning" else None)
        if part == "backbone" and brings_backbone:
            if inner is not None:
                faults.append(f"{where}.backbone: {where}={spec['name']} has a backbone of its own: leave it out")
        elif isinstance(inner, Mapping):
            faults += registry.faults(inner, f"{where}.{part}")
        else:
            faults.append(f"{where}.{part} should be a mapping with `name:`, but is {inner!r}")
    return faults + projection_faults(spec, where) + correlation_faults(spec, where, correlation)


def head_options(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Name and options of the head, without the other parts of the spec."""
    return {key: value for key, value in spec.items() if key not in _PARTS}


def network_title(spec: Mapping[str, Any]) -> str:
    """What a network is, in a few words.

    Args:
        spec: See `build_model`.

    Examples:
        >>> network_title({"name": "deeplabv2", "backbone": {"name": "timm", "arch": "resnet18"}})
        'deeplabv2 on resnet18'
        >>> network_title({"name": "smp", "arch": "unet", "encoder": "resnet34"})
        'unet of smp on resnet34'
    """
    title = getattr(MODELS.builder(spec["name"]), "title", None)
    if title is not None:
        return title(spec)
    backbone = spec["backbone"]
    return f"{spec['name']} on {backbone.get('arch', backbone['name'])}"


def build_model(
    spec: Mapping[str, Any],
    num_classes: int,
    projection: bool,
    seed: int,
    where: str = "model",
    correlation: bool = False,
) -> SegmentationModel:
    """Build a network with random initial weights that depend only on the spec and the seed.

    Args:
        spec: The `model` part of the config as a plain mapping: `name`, its options, `backbone`, `tuning` (default: all
            weights at one rate), `projection` (default: `PUBLISHED`), `correlation`, and what `load_weights` handles.
        num_classes: Number of classes C.
        projection: Whether a loss needs an embedding.
        seed: Seed of the initial weights. The global random state is not changed.
        where: The spec's place in the config, for messages.
        correlation: Whether a loss needs the correlation of cells; the other weights do not depend on it.

    Raises:
        ConfigError: A part of the spec is unknown, missing, of the wrong type, or impossible; or the head does not fit
            the backbone.

    Examples:
        >>> backbone = {"name": "tiny", "width": 8}
        >>> head = {"name": "deeplabv2", "aspp_rates": [1, 2], "aspp_branches": 2, "embedding_channels": 4}
        >>> model = build_model(head | {"backbone": backbone}, num_classes=3, projection=True, seed=0)
        >>> images = torch.zeros(1, 3, 32, 48, dtype=torch.uint8)
        >>> model(images).shape, model.maps(images).embedding.shape
        (torch.Size([1, 3, 32, 48]), torch.Size([1, 4, 8, 12]))
    """
    raise_faults(model_faults(spec, where, correlation))
    every_level = getattr(MODELS.builder(spec["name"]), "every_level", False)
    # Always on the CPU, so that CPU and GPU runs start from equal weights, and one random state has to be restored.
    with torch.random.fork_rng(devices=[]), _naming(where):
        tuning = TUNINGS.build(spec.get("tuning", _PLAIN), where=f"{where}.tuning")
        torch.default_generator.manual_seed(seed)
        runtime: dict[str, Any] = {
            "num_classes": num_classes,
            "projection": projection_of(spec) if projection else None,
        }
        if not _brings_backbone(spec):
            runtime["backbone"] = BACKBONES.build(spec["backbone"], where=f"{where}.backbone", every_level=every_level)
        model = MODELS.build(head_options(spec), where=where, **runtime)
        if correlation:
            model.require_features("the correlation of cells")
            options, channels = spec["correlation"], model.backbone.channels
            model.correlation = CorrelationHead(in_channels=channels, num_classes=num_classes, **options)
        if tuning != TUNINGS.build(_PLAIN):
            model.require_features("a tuning of the backbone apart (model.tuning)")
    model.tuning = tuning
    if tuning.freezes_backbone:
        model.extractor.requires_grad_(False)
    return model.train()


def _brings_backbone(spec: Mapping[str, Any]) -> bool:
    return getattr(MODELS.builder(spec["name"]), "own_backbone", False)


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Replace `model` in error messages by the spec's place in the config, such as `model_b`."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(re.sub(r"\bmodel(?=[./=])", where, str(error))) from error
