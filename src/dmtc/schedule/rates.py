"""Learning-rate curves, by name."""

import math
from collections.abc import Callable

from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry

RateCurve = Callable[[float], float]
"""Maps the completed share of a phase, in [0, 1), to a factor of its learning rate."""

RATES: Registry[RateCurve] = Registry("rate")
"""The curves for `schedule.rate`."""


@RATES.register("poly")
def poly(*, power: float) -> RateCurve:
    """(1 - completed share) ** power, updated at every step (Chen et al. 2017, section 3)."""
    return lambda done: (1 - done) ** power


@RATES.register("cosine")
def cosine(*, floor: float) -> RateCurve:
    """Half a cosine, from 1 down to `floor` (Loshchilov and Hutter 2017, equation 5, without restarts)."""
    if not 0 <= floor <= 1:
        raise ConfigError(f"schedule.rate.floor should be in [0, 1], but is {floor}")
    return lambda done: floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2


@RATES.register("constant")
def constant() -> RateCurve:
    """A constant learning rate."""
    return lambda done: 1.0


def warmed_up(curve: RateCurve, share: float) -> RateCurve:
    """The curve times a factor that rises linearly from 0 to 1 over the first `share` of a phase; 0: no warm-up."""
    return curve if share == 0 else lambda done: curve(done) * min(1.0, done / share)
