"""What timm knows of its architectures beside building them. It is slow to import, so each function does for itself."""

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dmtc.core.errors import ConfigError
from dmtc.models.normalization import Normalization, imagenet


def refuse_unknown(arch: str) -> None:
    """See that timm knows an architecture.

    Raises:
        ConfigError: It does not; the nearest names are told.
    """
    import timm

    if not timm.is_model(arch):
        nearest = difflib.get_close_matches(arch, timm.list_models(), n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
        raise ConfigError(f"model.backbone.arch: timm knows no {arch!r}.{hint}")


def normalization_of(arch: str) -> Normalization:
    """The rule of an architecture's published weights."""
    import timm

    rule = timm.get_pretrained_cfg(arch)
    return Normalization(rule.mean, rule.std) if rule else imagenet()


def whole_model(arch: str) -> nn.Module:
    """The architecture as its published weights are saved, with any weights."""
    import timm

    with torch.random.fork_rng(devices=[]):
        return timm.create_model(arch, pretrained=False)


def layers_of(whole: Any, names: Iterable[str]) -> dict[str, int]:
    """Divide parameters into layers as timm does.

    Args:
        whole: The architecture.
        names: Of the parameters to divide, as in `whole`, or flattened as timm's feature extractors have them.

    Returns:
        For each the number of its layer, 0 nearest the image, without gaps; all 0 if timm divides it in no way.
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
    """Let timm bring weights into its own names and shapes, as it does with its downloads.

    Args:
        arch: Name in timm.
        whole: The architecture, with position embeddings of the size that is wanted.
        state: Tensors as their authors published them, or timm's own for another image size.

    Returns:
        Tensors by timm's names, or None if it has no rule for the architecture or the rule does not fit.
    """
    import timm

    module = importlib.import_module(timm.models.model_entrypoint(arch.partition(".")[0]).__module__)
    rule = getattr(module, "checkpoint_filter_fn", None)
    if rule is None:
        return None
    try:
        tensors = rule(dict(state), whole)
    # The rules are written for the authors' files, and stumble over others in every way.
    except Exception:
        return None
    return {str(name): value for name, value in tensors.items() if isinstance(value, Tensor)}
