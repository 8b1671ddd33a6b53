"""Optimizers, by name."""

import torch
from torch.optim.optimizer import ParamsT

from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry

OPTIMIZERS: Registry[torch.optim.Optimizer] = Registry("optimizer", runtime=["parameters", "learning_rate"])
"""The optimizers for `schedule.optimizer`. Builders also take `parameters` and `learning_rate`."""


@OPTIMIZERS.register("sgd")
def sgd(*, parameters: ParamsT, learning_rate: float, momentum: float, weight_decay: float) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum, as in all published recipes."""
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=momentum, weight_decay=weight_decay, fused=True)


@OPTIMIZERS.register("adamw")
def adamw(
    *, parameters: ParamsT, learning_rate: float, betas: list[float], weight_decay: float
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019); the published recipes use SGD."""
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ConfigError(f"schedule.optimizer.betas should be two numbers in [0, 1), but is {betas}")
    return torch.optim.AdamW(
        parameters, lr=learning_rate, betas=(betas[0], betas[1]), weight_decay=weight_decay, fused=True
    )
