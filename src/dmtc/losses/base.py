"""What a loss is, and the few operations that all losses share.

A loss is any callable that names the fields of `StepInputs` it wants as its parameters and returns a `LossValue`. It
needs no base class; `evaluate_loss` looks at its signature and passes just those fields.
"""

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry
from dmtc.core.types import LossValue, StepInputs


class Loss(Protocol):
    """A callable whose parameters are fields of `StepInputs`, taken by name."""

    def __call__(self, *args: Any, **kwargs: Any) -> LossValue:
        """Score a batch."""
        ...


@runtime_checkable
class WeighsPixels(Protocol):
    """What a loss may have besides, if it does not learn from all pixels alike: reports then show its weights."""

    def pixel_weights(self, logits: Tensor, label: Tensor, confidence: Tensor) -> Tensor:
        """The weight of every pixel of pseudo-labelled images, float (B, H, W) without gradient; 0: nothing learned."""
        ...


LOSSES: Registry[Loss] = Registry("loss")
"""The known losses. The library passes nothing but what YAML gives; `weight` is the training loop's."""

_FIELDS = tuple(field.name for field in fields(StepInputs))


def inputs_of(loss: Callable[..., Any]) -> tuple[str, ...]:
    """The fields of `StepInputs` that a loss asks for, in the order of its parameters.

    Args:
        loss: A loss object or function; of an `nn.Module` the parameters of `forward` count.

    Raises:
        ConfigError: A parameter without a default is no field of `StepInputs`.

    Examples:
        >>> from dmtc.losses import CrossEntropy, inputs_of
        >>> inputs_of(CrossEntropy())
        ('logits', 'label')
    """
    parameters = _parameters(loss)
    unknown = [name for name, p in parameters.items() if name not in _FIELDS and p.default is p.empty]
    if unknown:
        raise ConfigError(
            f"loss {_name(loss)} asks for {', '.join(map(repr, unknown))}, which a training step does not have; "
            f"name its parameters after these: {', '.join(_FIELDS)}"
        )
    return tuple(name for name in parameters if name in _FIELDS)


def evaluate_loss(loss: Callable[..., Any], step: StepInputs) -> LossValue:
    """Call a loss with the fields of the step that it asks for.

    Args:
        loss: A loss object or function that returns a `LossValue`, or a bare scalar when it has nothing to log.
        step: Everything that is known in this training step.

    Raises:
        ConfigError: The loss asks for something a step does not have, or for the embedding of a model without one, or
            returns neither of the two.

    Examples:
        >>> from dmtc.core.types import StepInputs
        >>> step = StepInputs(
        ...     logits=torch.ones(1, 2, 1, 1),
        ...     embedding=None,
        ...     label=torch.zeros(1, 8, 8, dtype=torch.long),
        ...     confidence=torch.ones(1, 8, 8),
        ...     is_pseudo=torch.tensor([False]),
        ...     generator=torch.Generator(),
        ... )
        >>> evaluate_loss(lambda logits: logits.square().mean(), step).loss
        tensor(1.)
    """
    wanted = {name: getattr(step, name) for name in inputs_of(loss)}
    for name in [name for name, value in wanted.items() if value is None]:
        if _parameters(loss)[name].default is inspect.Parameter.empty:
            raise ConfigError(
                f"loss {_name(loss)} needs the model's {name}, but the model gives none; "
                "choose a model with a projection head, or leave this loss out (loss/contrastive=none)"
            )
        del wanted[name]
    value = loss(**wanted)
    if isinstance(value, Tensor):
        return LossValue(value)
    if not isinstance(value, LossValue):
        raise ConfigError(
            f"loss {_name(loss)} returned {type(value).__name__}; return a dmtc.core.types.LossValue or a scalar tensor"
        )
    return value


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring maps to full size by bilinear interpolation with aligned corners, in full precision.

    Args:
        maps: (B, C, h, w), any floating type.
        size: (H, W) in pixels; when the maps have it already, only the precision changes.

    Returns:
        (B, C, H, W) with gradient; float32, or float64 for float64 maps.

    Examples:
        >>> upsample(torch.tensor([[[[0.0, 1.0]]]]), (1, 3))
        tensor([[[[0.0000, 0.5000, 1.0000]]]])
    """
    maps = full_precision(maps)
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=True)


def full_precision(values: Tensor) -> Tensor:
    """The same values as float32; float64 stays, so that gradients can be checked numerically."""
    return values if values.dtype == torch.float64 else values.float()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of the values where a bool mask of their shape holds; 0, with zero gradient, where it never does.

    Examples:
        >>> masked_mean(torch.tensor([1.0, 3.0, torch.nan]), torch.tensor([True, True, False]))
        tensor(2.)
    """
    return values.where(mask, 0).sum() / mask.sum().clamp(min=1)


def require(condition: bool, loss: object, option: str, demand: str) -> None:
    """Raise a `ConfigError` such as "online.threshold should be in [0, 1], but is 3" unless the condition holds."""
    if not condition:
        raise ConfigError(f"{_name(loss)}.{option} should be {demand}, but is {getattr(loss, option)!r}")


def _parameters(loss: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    # The signature of a module's own call is (*args, **kwargs); what it really takes is told by `forward`.
    signature = inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss)
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: p for name, p in signature.parameters.items() if p.kind not in variadic}


def _name(loss: object) -> str:
    return getattr(loss, "__name__", type(loss).__name__)
