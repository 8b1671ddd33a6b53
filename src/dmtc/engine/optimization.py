"""Optimizers and learning-rate curves, by name."""

import math
from collections.abc import Callable

import torch
from torch.optim.optimizer import ParamsT

from dmtc.errors import ConfigError
from dmtc.registry import Registry

RateCurve = Callable[[float], float]
"""Share of the phase that is done, in [0, 1) -> factor of the phase's learning rate."""

OPTIMIZERS: Registry[torch.optim.Optimizer] = Registry("optimizer", runtime=["parameters", "learning_rate"])
RATES: Registry[RateCurve] = Registry("rate")


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


@RATES.register("poly")
def poly(*, power: float) -> RateCurve:
    """(1 - share done) ** power, set anew at every step (Chen et al. 2017, section 3)."""
    return lambda done: (1 - done) ** power


@RATES.register("cosine")
def cosine(*, floor: float) -> RateCurve:
    """Half a cosine, from 1 down to `floor` (Loshchilov and Hutter 2017, equation 5, without restarts)."""
    if not 0 <= floor <= 1:
        raise ConfigError(f"schedule.rate.floor should lie in [0, 1], but is {floor}")
    return lambda done: floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2


@RATES.register("constant")
def constant() -> RateCurve:
    """The phase's learning rate throughout."""
    return lambda done: 1.0


def warmed_up(curve: RateCurve, share: float) -> RateCurve:
    """The curve, times a factor that rises evenly from 0 to 1 over the first `share` of a phase; 0 leaves it as is."""
    return curve if share == 0 else lambda done: curve(done) * min(1.0, done / share)
