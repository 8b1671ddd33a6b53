"""The loss interface, and the few operations that losses share.

A loss is any callable whose parameters are named after the fields of `StepInputs` it needs and that returns a
`LossValue`. It needs no base class; `evaluate_loss` inspects its signature and passes only those fields.
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
    """A callable whose parameters are fields of `StepInputs`, matched by name."""

    def __call__(self, *args: Any, **kwargs: Any) -> LossValue:
        """Compute the loss of a batch."""
        ...


@runtime_checkable
class WeighsPixels(Protocol):
    """Optional method of a loss that weights pixels; reports show the weights."""

    def pixel_weights(self, logits: Tensor, label: Tensor, confidence: Tensor) -> Tensor:
        """Weight of each pixel of pseudo-labelled images, float (B, H, W) without gradient; 0 means not learned."""
        ...


LOSSES: Registry[Loss] = Registry("loss", runtime=["classes"])
"""All registered losses. They get the options given in YAML, except `weight`, which the training loop uses. One may
also take `classes: LabelledClasses | None`, the classes and their labelled pixels; None while options are checked."""

_FIELDS = tuple(field.name for field in fields(StepInputs))


def inputs_of(loss: Callable[..., Any]) -> tuple[str, ...]:
    """The fields of `StepInputs` that a loss takes, in the order of its parameters.

    Args:
        loss: A loss object or function; for an `nn.Module`, the parameters of `forward` count.

    Raises:
        ConfigError: A parameter without a default is not a field of `StepInputs`.

    Examples:
        >>> from dmtc.losses import CrossEntropy, inputs_of
        >>> inputs_of(CrossEntropy())
        ('logits', 'label')
    """
    parameters = _parameters(loss)
    unknown = [name for name, p in parameters.items() if name not in _FIELDS and p.default is p.empty]
    if unknown:
        raise ConfigError(
            f"loss {_name(loss)} takes {', '.join(map(repr, unknown))}, which training steps do not provide; "
            f"its parameters can be: {', '.join(_FIELDS)}"
        )
    return tuple(name for name in parameters if name in _FIELDS)


def evaluate_loss(loss: Callable[..., Any], step: StepInputs) -> LossValue:
    """Call a loss with the fields of the step that it takes.

    Args:
        loss: A loss object or function that returns a `LossValue`, or a scalar tensor if it has nothing to log.
        step: All inputs of this training step.

    Raises:
        ConfigError: The loss takes something a step does not provide, or the embedding of a model without one, or
            returns neither of the two types.

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
    inputs = {name: getattr(step, name) for name in inputs_of(loss)}
    for name in [name for name, value in inputs.items() if value is None]:
        if _parameters(loss)[name].default is inspect.Parameter.empty:
            raise ConfigError(
                f"loss {_name(loss)} needs the model's {name}, but the model returns none; "
                "choose a model with a projection head, or leave this loss out (loss/contrastive=none)"
            )
        del inputs[name]
    value = loss(**inputs)
    if isinstance(value, Tensor):
        return LossValue(value)
    if not isinstance(value, LossValue):
        raise ConfigError(
            f"loss {_name(loss)} returned {type(value).__name__}; return a dmtc.core.types.LossValue or a scalar tensor"
        )
    return value


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample maps by bilinear interpolation with aligned corners, in full precision.

    Args:
        maps: (B, C, h, w), any floating type.
        size: (H, W) in pixels; if the maps already have it, only the precision changes.

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
    """Convert to float32; float64 stays, so that gradients can be checked numerically."""
    return values if values.dtype == torch.float64 else values.float()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of the values where a bool mask of the same shape is true; 0 with zero gradient if it never is.

    Examples:
        >>> masked_mean(torch.tensor([1.0, 3.0, torch.nan]), torch.tensor([True, True, False]))
        tensor(2.)
    """
    return values.where(mask, 0).sum() / mask.sum().clamp(min=1)


def require(condition: bool, loss: object, option: str, demand: str) -> None:
    """Raise a `ConfigError` such as "online.threshold should be in [0, 1], but is 3" unless the condition is true."""
    if not condition:
        raise ConfigError(f"{_name(loss)}.{option} should be {demand}, but is {getattr(loss, option)!r}")


def _parameters(loss: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    # `nn.Module.__call__` takes (*args, **kwargs); the real parameters are those of `forward`.
    signature = inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss)
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: p for name, p in signature.parameters.items() if p.kind not in variadic}


def _name(loss: object) -> str:
    return getattr(loss, "__name__", type(loss).__name__)
