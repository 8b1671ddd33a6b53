"""Learning-rate curves, by name."""

import math
from collections.abc import Callable

from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry

RateCurve = Callable[[float], float]
"""Maps the completed share of a phase, in [0, 1), to a factor of its learning rate."""

RATES: Registry[RateCurve] = Registry("rate", runtime=["steps"])
"""The curves for `schedule.rate`. A builder may also take `steps`, the number of steps of the phase."""


@RATES.register("poly")
def poly(*, power: float, offset: int, steps: int) -> RateCurve:
    """(1 - completed share) ** power, updated at every step (Chen et al. 2017, section 3).

    Args:
        power: The exponent.
        offset: Number of steps that the curve lags behind. With 1, the first two steps have the full rate, as in code
            that sets the rate after each step (UniMatch, UniMatch V2, CorrMatch, PrevMatch); 0 in DMT, CPS, U2PL,
            AugSeg and ST++.
        steps: Steps of the phase.
    """
    if offset < 0:
        raise ConfigError(f"schedule.rate.offset should be 0 or more steps, but is {offset}")
    if offset == 0:
        return lambda done: (1 - done) ** power
    return lambda done: (1 - max(0.0, done - offset / steps)) ** power


@RATES.register("poly_by_epoch")
def poly_by_epoch(*, power: float, epochs: int, floor: float, steps: int) -> RateCurve:
    """The poly curve, but constant within each of a number of equal parts of a phase, and never below a floor.

    Source: Liu et al. 2022 (ReCo) and its mean teachers: 200 epochs of 200 steps. Deviation: none; there the floor is
    a rate, 1e-6 of 2.5e-3, and is never reached.

    Args:
        power: The exponent.
        epochs: Number of parts.
        floor: The lowest factor.
        steps: Steps of the phase.
    """
    if epochs < 1:
        raise ConfigError(f"schedule.rate.epochs should be at least 1, but is {epochs}")
    _require_share("floor", floor)
    # Counted in whole steps, because rounding errors of `done` would shift the beginning of an epoch.
    return lambda done: max(floor, (1 - round(done * steps) * epochs // steps / epochs) ** power)


@RATES.register("cosine")
def cosine(*, floor: float) -> RateCurve:
    """Half a cosine, from 1 down to `floor` (Loshchilov and Hutter 2017, equation 5, without restarts)."""
    _require_share("floor", floor)
    return lambda done: floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2


@RATES.register("constant")
def constant() -> RateCurve:
    """A constant learning rate."""
    return lambda done: 1.0


def warmed_up(curve: RateCurve, share: float) -> RateCurve:
    """The curve times a factor that rises linearly from 0 to 1 over the first `share` of a phase; 0: no warm-up."""
    return curve if share == 0 else lambda done: curve(done) * min(1.0, done / share)


def _require_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"schedule.rate.{name} should be in [0, 1], but is {value}")
