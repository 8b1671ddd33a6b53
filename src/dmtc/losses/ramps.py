"""Ramps: how the weight of a term changes over a phase."""

from collections.abc import Callable

from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry

Ramp = Callable[[float], float]
"""Maps the done share of a phase, in [0, 1), to a factor of a term's weight."""

RAMPS: Registry[Ramp] = Registry("ramp")
"""The ramps for `loss.<term>.ramp`."""


@RAMPS.register("linear")
def linear(*, share: float) -> Ramp:
    """Rises from 0 to 1 over the first `share` of the phase, in (0, 1]."""
    _require_share(share)
    return lambda done: min(1.0, done / share)


@RAMPS.register("triangle")
def triangle() -> Ramp:
    """Rises from 0 to 1 at half time, then falls to 0 (PrevMatch, its schedule of lambda)."""
    return lambda done: 1 - abs(2 * done - 1)


@RAMPS.register("after")
def after(*, share: float) -> Ramp:
    """0 for the first `share` of the phase, in (0, 1], then 1: what comes before is supervised training."""
    _require_share(share)
    return lambda done: float(done >= share)


def _require_share(share: float) -> None:
    if not 0 < share <= 1:
        raise ConfigError(f"the share of a ramp should be above 0 and at most 1, but is {share}")
