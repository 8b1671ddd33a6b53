"""Queries about timm's architectures. timm is slow to import, so each function imports it when called."""

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dmtc.core.errors import ConfigError
from dmtc.core.suggestions import did_you_mean, nearest
from dmtc.models.normalization import Normalization, imagenet


def refuse_unknown(arch: str) -> None:
    """Check that timm has an architecture.

    Raises:
        ConfigError: It does not; the message gives the closest matches.
    """
    import timm

    if not timm.is_model(arch):
        hint = did_you_mean(nearest(arch, timm.list_models(), 3, 0.5))
        raise ConfigError(f"model.backbone.arch: timm has no {arch!r}.{hint}")


def normalization_of(arch: str) -> Normalization:
    """Normalization of an architecture's published weights."""
    import timm

    rule = timm.get_pretrained_cfg(arch)
    return Normalization(rule.mean, rule.std) if rule else imagenet()


def whole_model(arch: str) -> nn.Module:
    """The complete architecture, as its published weights are saved, with arbitrary weights."""
    import timm

    with torch.random.fork_rng(devices=[]):
        return timm.create_model(arch, pretrained=False)


def layers_of(whole: Any, names: Iterable[str]) -> dict[str, int]:
    """Assign parameters to timm's layers.

    Args:
        whole: The architecture.
        names: Names of the parameters, as in `whole` or as flattened by timm's feature extractors.

    Returns:
        Layer number by name, 0 nearest the image, without gaps; all 0 if timm defines no layers for the architecture.
    """
    from timm.models import group_parameters

    if not hasattr(whole, "group_matcher"):
        return dict.fromkeys(names, 0)
    known = group_parameters(whole, whole.group_matcher(coarse=False), reverse=True)
    by_canonical_name = {name.replace("_", "."): layer for name, layer in known.items()}
    deepest = max(by_canonical_name.values())
    layers = {name: by_canonical_name.get(name.replace("_", "."), deepest) for name in names}
    renumbered = {layer: number for number, layer in enumerate(sorted(set(layers.values())))}
    return {name: renumbered[layer] for name, layer in layers.items()}


def converted(arch: str, whole: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Convert weights to timm's names and shapes, as timm does for its own downloads.

    Args:
        arch: Name in timm.
        whole: The architecture, with position embeddings of the target size.
        state: Tensors as published by their authors, or timm's own for another image size.

    Returns:
        Tensors by timm's names; None if timm has no conversion for the architecture or the conversion fails.
    """
    import timm

    module = importlib.import_module(timm.models.model_entrypoint(arch.partition(".")[0]).__module__)
    rule = getattr(module, "checkpoint_filter_fn", None)
    if rule is None:
        return None
    try:
        tensors = rule(dict(state), whole)
    # Conversions are written for the authors' files and fail in arbitrary ways on others.
    except Exception:
        return None
    return {str(name): value for name, value in tensors.items() if isinstance(value, Tensor)}
