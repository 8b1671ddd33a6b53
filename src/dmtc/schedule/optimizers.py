"""Optimizers, by name."""

from typing import Any

import torch
from torch.optim.optimizer import ParamsT

from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry

OPTIMIZERS: Registry[torch.optim.Optimizer] = Registry("optimizer", runtime=["parameters", "learning_rate"])
"""The optimizers for `schedule.optimizer`. Builders also take `parameters` and `learning_rate`."""


@OPTIMIZERS.register("sgd")
def sgd(
    *,
    parameters: ParamsT,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
    decay_vectors: bool,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum, as in the recipes of DMT and DMTC.

    Args:
        parameters: What to train, see `SegmentationModel.parameter_groups`.
        learning_rate: The initial rate.
        momentum: Share of the last step that is repeated.
        weight_decay: Factor of the weights that is added to the gradient.
        nesterov: Nesterov's momentum, as in ReCo and its mean teachers.
        decay_vectors: Whether weight decay also applies to biases and norms; false in CPS.
    """
    if nesterov and momentum <= 0:
        raise ConfigError(f"schedule.optimizer.nesterov needs a momentum above 0, but momentum is {momentum}")
    return torch.optim.SGD(
        parameters if decay_vectors else without_vector_decay(parameters),
        lr=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
        fused=True,
    )


@OPTIMIZERS.register("adamw")
def adamw(
    *,
    parameters: ParamsT,
    learning_rate: float,
    betas: list[float],
    weight_decay: float,
    decay_vectors: bool,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as in UniMatch V2.

    Args:
        parameters: What to train, see `SegmentationModel.parameter_groups`.
        learning_rate: The initial rate.
        betas: Decay of the mean of the gradients and of their squares.
        weight_decay: Share of the weights, times the rate, that each step takes away.
        decay_vectors: Whether weight decay also applies to biases and norms.
    """
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ConfigError(f"schedule.optimizer.betas should be two numbers in [0, 1), but is {betas}")
    return torch.optim.AdamW(
        parameters if decay_vectors else without_vector_decay(parameters),
        lr=learning_rate,
        betas=(betas[0], betas[1]),
        weight_decay=weight_decay,
        fused=True,
    )


def without_vector_decay(parameters: ParamsT) -> list[dict[str, Any]]:
    """Split every parameter group in two: matrices as before, and vectors (biases and norms) without weight decay.

    Args:
        parameters: A list of parameters or of groups; other keys of a group are kept.
    """
    entries = list(parameters)
    groups: list[dict[str, Any]] = [one for one in entries if isinstance(one, dict)] or [{"params": entries}]
    split = []
    for group in groups:
        whole = list(group["params"])
        vectors = [one for one in whole if one.ndim <= 1]
        matrices = [one for one in whole if one.ndim > 1]
        split += [group | {"params": matrices}] if matrices else []
        split += [group | {"params": vectors, "weight_decay": 0.0}] if vectors else []
    return split
