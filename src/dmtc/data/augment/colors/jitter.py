"""Color jitter, gray images and Gaussian blur: the strong view of most methods."""

from dataclasses import dataclass

import numpy as np

from dmtc.core.registry import raise_faults
from dmtc.data.augment.colors import operations
from dmtc.data.augment.colors.base import COLORS, Color, Drawn
from dmtc.data.augment.colors.checks import probability_faults, range_faults


@COLORS.register("jitter")
@dataclass(frozen=True, kw_only=True)
class Jitter(Color):
    """Brightness, contrast, saturation and hue in random order; then, each with its probability, gray and blur.

    Attributes:
        brightness: The factor is drawn uniformly from 1 - brightness (at least 0) to 1 + brightness; 0 means never.
        contrast: Likewise.
        saturation: Likewise.
        hue: Largest turn of the color circle either way, in [0, 0.5] turns; 0 means never.
        probability: Of the four above, which are applied together or not at all.
        gray: Probability of a gray image.
        blur: Probability of a Gaussian blur.
        sigma: Smallest and largest standard deviation of the blur in pixels; drawn uniformly.

    Raises:
        ConfigError: A value is out of range; one message lists all errors.

    Source:
        UniMatch (Yang et al. 2023), `dataset/semi.py` and `dataset/transform.py`, whose numbers the first example has;
        CorrMatch and PrevMatch have the same. ReCo (Liu et al. 2022) uses half the strength: the second example.
        Deviations: values are rounded once at the end, not after every operation, and the blur is a Gaussian, which
        Pillow approximates by three box filters; both are differences of a few levels of 255.

    Examples:
        >>> strong = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.25, "probability": 0.8}
        >>> color = Jitter(**strong, gray=0.2, blur=0.5, sigma=[0.1, 2.0])
        >>> [drawn.operation.__name__ for drawn in color.draw(np.random.default_rng(0))]
        ['contrast', 'brightness', 'hue', 'saturation', 'blur']
        >>> half = {"brightness": 0.25, "contrast": 0.25, "saturation": 0.25, "hue": 0.25, "probability": 0.8}
        >>> color = Jitter(**half, gray=0.0, blur=0.5, sigma=[0.15, 1.15])
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float
    probability: float
    gray: float
    blur: float
    sigma: list[float]

    def __post_init__(self) -> None:
        faults = []
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) < float("inf"):
                faults.append(f"views.color.{name} should be at least 0, but is {getattr(self, name)}")
        if not 0 <= self.hue <= 0.5:
            faults.append(f"views.color.hue should be at most half a turn, in [0, 0.5], but is {self.hue}")
        faults += probability_faults(probability=self.probability, gray=self.gray, blur=self.blur)
        faults += range_faults("sigma", self.sigma, 0)
        raise_faults(faults)

    def draw(self, rng: np.random.Generator) -> list[Drawn]:
        """Draw the operations for one image; always takes 12 numbers from `rng`."""
        draws = rng.random(12)
        jitters, is_gray, is_blurred = draws[:3] < (self.probability, self.gray, self.blur)
        strengths = draws[3:7] * 2 - 1
        four = [
            Drawn(operations.brightness, _factor(self.brightness, strengths[0])),
            Drawn(operations.contrast, _factor(self.contrast, strengths[1])),
            Drawn(operations.saturation, _factor(self.saturation, strengths[2])),
            Drawn(operations.hue, self.hue * strengths[3]),
        ]
        widths = (self.brightness, self.contrast, self.saturation, self.hue)
        drawn = [four[which] for which in np.argsort(draws[7:11]) if jitters and widths[which] > 0]
        if is_gray:
            drawn.append(Drawn(operations.gray))
        if is_blurred:
            drawn.append(Drawn(operations.blur, self.sigma[0] + (self.sigma[1] - self.sigma[0]) * draws[11]))
        return drawn


def _factor(width: float, draw: float) -> float:
    """Uniform between 1 - width, but at least 0, and 1 + width, for a draw in [-1, 1)."""
    lowest = max(0.0, 1 - width)
    return lowest + (1 + width - lowest) * (draw + 1) / 2
