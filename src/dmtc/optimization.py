"""Optimizers and learning-rate curves, by name."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from dmtc.registry import Registry

RateCurve = Callable[[float], float]
"""Share of the phase that is done, in [0, 1) -> factor of the phase's learning rate."""

OPTIMIZERS: Registry[torch.optim.Optimizer] = Registry("optimizer", runtime=["parameters", "learning_rate"])
RATES: Registry[RateCurve] = Registry("rate")


@OPTIMIZERS.register("sgd")
def sgd(
    *, parameters: Iterable[nn.Parameter], learning_rate: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum, as in all published recipes."""
    return torch.optim.SGD(
        list(parameters), lr=learning_rate, momentum=momentum, weight_decay=weight_decay, foreach=True
    )


@RATES.register("poly")
def poly(*, power: float) -> RateCurve:
    """(1 - share done) ** power, set anew at every step (Chen et al. 2017, section 3)."""
    return lambda done: (1 - done) ** power


@RATES.register("constant")
def constant() -> RateCurve:
    """The phase's learning rate throughout."""
    return lambda done: 1.0
