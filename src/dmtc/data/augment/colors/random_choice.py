"""A few operations drawn from a list: the strong view of AugSeg."""

from dataclasses import dataclass

import numpy as np

from dmtc.core.registry import raise_faults, unknown
from dmtc.data.augment.colors import operations
from dmtc.data.augment.colors.base import COLORS, Color, Drawn
from dmtc.data.augment.colors.checks import range_faults

_BLENDS = ("contrast", "brightness", "saturation", "sharpness")
_KNOWN = ("identity", "autocontrast", "equalize", "blur", *_BLENDS, "posterize", "solarize", "hue")


@COLORS.register("random_choice")
@dataclass(frozen=True, kw_only=True)
class RandomChoice(Color):
    """A random number of operations, each drawn from a list and with a random strength; one may be drawn repeatedly.

    Attributes:
        operations: Names to draw from: identity, autocontrast, equalize, blur, contrast, brightness, saturation,
            sharpness, posterize, solarize, hue.
        count: Smallest and largest number of operations; drawn uniformly.
        factor: Smallest and largest factor of contrast, brightness, saturation and sharpness, where 0 takes all of it
            away and 1 changes nothing; drawn uniformly.
        sigma: Smallest and largest standard deviation of the blur in pixels; drawn uniformly.
        bits: Smallest and largest number of bits that posterize keeps of eight; drawn uniformly.
        threshold: Smallest and largest value from which on solarize inverts; drawn uniformly.
        hue: Largest turn of the color circle either way, in [0, 0.5] turns; drawn uniformly.

    Raises:
        ConfigError: An operation is unknown or a value out of range; one message lists all errors.

    Source:
        AugSeg (Zhao et al. 2023), `augseg/dataset/augs_TIBA.py`, whose numbers the example has; there saturation is
        called color. Deviation: values are rounded once at the end and before the operations that count levels, not
        after every operation.

    Examples:
        >>> all_of_them = ["identity", "autocontrast", "equalize", "blur", "contrast", "brightness", "saturation"]
        >>> all_of_them += ["sharpness", "posterize", "solarize", "hue"]
        >>> numbers = {"sigma": [0.1, 2.0], "bits": [4, 7], "threshold": [1, 255], "hue": 0.5}
        >>> color = RandomChoice(operations=all_of_them, count=[1, 3], factor=[0.05, 0.95], **numbers)
        >>> [drawn.operation.__name__ for drawn in color.draw(np.random.default_rng(0))]
        ['equalize', 'identity']
    """

    operations: list[str]
    count: list[int]
    factor: list[float]
    sigma: list[float]
    bits: list[int]
    threshold: list[int]
    hue: float

    def __post_init__(self) -> None:
        faults = [
            f"views.color.operations: unknown operation {unknown(name, _KNOWN)}"
            for name in self.operations
            if name not in _KNOWN
        ]
        if not self.operations:
            faults.append(f"views.color.operations should name at least one of {', '.join(_KNOWN)}")
        faults += range_faults("count", self.count, 0)
        faults += range_faults("factor", self.factor, 0)
        faults += range_faults("sigma", self.sigma, 0)
        faults += range_faults("bits", self.bits, 1, 8)
        faults += range_faults("threshold", self.threshold, 0, 256)
        if not 0 <= self.hue <= 0.5:
            faults.append(f"views.color.hue should be at most half a turn, in [0, 0.5], but is {self.hue}")
        raise_faults(faults)

    def draw(self, rng: np.random.Generator) -> list[Drawn]:
        """Draw the operations for one image; takes one number for the count and two for each operation that it may."""
        number = _whole(self.count, rng.random())
        draws = rng.random((self.count[1], 2))[:number]
        names = [self.operations[int(which * len(self.operations))] for which, _ in draws]
        return [
            Drawn(getattr(operations, name), self._strength(name, strength))
            for name, strength in zip(names, draws[:, 1], strict=True)
        ]

    def _strength(self, name: str, draw: float) -> float:
        if name in _BLENDS:
            return _between(self.factor, draw)
        if name == "blur":
            return _between(self.sigma, draw)
        if name in ("posterize", "solarize"):
            return _whole(self.bits if name == "posterize" else self.threshold, draw)
        return self.hue * (2 * draw - 1) if name == "hue" else 0.0


def _between(ends: list[float], draw: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * draw


def _whole(ends: list[int], draw: float) -> int:
    return ends[0] + int((ends[1] - ends[0] + 1) * draw)
