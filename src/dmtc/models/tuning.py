"""How the weights of a network are trained: all at one rate, only the heads, or deeper layers faster.

Pretrained backbones, especially vision transformers, forget what they learned if a small labelled set trains all of
their layers at the learning rate that a new head needs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from torch import nn

from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry

Group: TypeAlias = dict[str, Any]
"""A parameter group for torch's optimizers: `params`, `lr_scale`, and `weight_decay` if it differs from the default."""


class _Layered(Protocol):
    def depths(self) -> dict[str, int]: ...

    def undecayed(self) -> set[str]: ...


class Tunable(Protocol):
    """What tuning needs of a network: its parameters, and the layer numbers of its backbone's parameters."""

    @property
    def backbone(self) -> _Layered:
        """See `Backbone`."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """See `nn.Module`."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """See `nn.Module`."""
        ...


class Tuning:
    """Trains all weights at the phase's learning rate. Subclass it and register the subclass in `TUNINGS`.

    Attributes:
        freezes_backbone: Whether to keep the backbone's weights fixed and the backbone in evaluation mode.
    """

    freezes_backbone: bool = False

    def groups(self, model: Tunable) -> list[nn.Parameter] | list[Group]:
        """The parameters to train: a plain list, or groups with `lr_scale`, a factor on the learning rate."""
        return [parameter for parameter in model.parameters() if parameter.requires_grad]


TUNINGS: Registry[Tuning] = Registry("tuning")
"""The registered tunings, chosen by `model.tuning`."""


@TUNINGS.register("full")
@dataclass(frozen=True, kw_only=True)
class Full(Tuning):
    """Train all weights, those of the backbone at the phase's learning rate times a factor.

    Args:
        backbone_rate: Factor on the rate of the backbone, above 0. Papers that give the heads 10 or 40 times the rate
            of the backbone set `learning_rate` to the heads' rate and this to 0.1 or 0.025.

    Raises:
        ConfigError: `backbone_rate` is out of range.
    """

    backbone_rate: float

    def __post_init__(self) -> None:
        _require_rate(self.backbone_rate)

    def groups(self, model: Tunable) -> list[nn.Parameter] | list[Group]:
        """A plain list, or one group for the backbone and one for the rest if their rates differ."""
        if self.backbone_rate == 1:
            return super().groups(model)
        groups: dict[bool, Group] = {}
        for name, parameter in model.named_parameters():
            of_backbone = name.startswith("backbone.")
            scale = self.backbone_rate if of_backbone else 1.0
            if parameter.requires_grad:
                groups.setdefault(of_backbone, {"params": [], "lr_scale": scale})["params"].append(parameter)
        return list(groups.values())


@TUNINGS.register("frozen")
class Frozen(Tuning):
    """Train only the heads; the backbone keeps its weights and running statistics.

    No backbone activations are stored for the backward pass, which saves time and most of the memory.
    """

    freezes_backbone = True


@TUNINGS.register("layer_decay")
@dataclass(frozen=True, kw_only=True)
class LayerDecay(Tuning):
    """Layer-wise learning rate decay toward the image.

    Of n layers, the i-th from the image trains at the phase's rate times `backbone_rate` times `decay` to the power of
    n - i + 1; the heads train at the phase's rate. Layers are timm's: the stem with the position embeddings, then each
    block.

    Args:
        decay: In (0, 1]; 1 gives all layers the same rate.
        backbone_rate: Factor on the rate of the whole backbone, above 0.
        decay_vectors: Whether weight decay also applies to biases, norms and embeddings.

    Raises:
        ConfigError: `decay` or `backbone_rate` is out of range.

    Source: Clark et al. 2020 (ELECTRA); Bao et al. 2022 (BEiT), where vectors have no weight decay either.
    """

    decay: float
    backbone_rate: float
    decay_vectors: bool

    def __post_init__(self) -> None:
        if not 0 < self.decay <= 1:
            raise ConfigError(f"model.tuning.decay should lie in (0, 1], but is {self.decay}")
        _require_rate(self.backbone_rate)

    def groups(self, model: Tunable) -> list[Group]:
        """One group per backbone layer and one for the heads, each split in two if vectors do not decay."""
        depths, undecayed = model.backbone.depths(), model.backbone.undecayed()
        layers = max(depths.values()) + 1
        groups: dict[tuple[float, bool], Group] = {}
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            inner = name.removeprefix("backbone.")
            of_backbone = inner != name
            scale = self.backbone_rate * self.decay ** (layers - depths[inner]) if of_backbone else 1.0
            decays = self.decay_vectors or not (parameter.ndim <= 1 or (of_backbone and inner in undecayed))
            group = groups.setdefault((scale, decays), {"params": [], "lr_scale": scale})
            if not decays:
                group["weight_decay"] = 0.0
            group["params"].append(parameter)
        return list(groups.values())


def _require_rate(factor: float) -> None:
    if not factor > 0:
        raise ConfigError(f"model.tuning.backbone_rate should be above 0, but is {factor}")
