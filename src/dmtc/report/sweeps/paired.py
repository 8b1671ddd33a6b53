"""The paired t-test, with Student's distribution in closed form.

With the two to five seeds that people can afford, a test without assumptions (flipping signs) can never be significant:
with three seeds, its smallest p is 0.25. The t-test can, but assumes that differences between seeds are normally
distributed. For integer degrees of freedom, its distribution is a finite sum, so scipy is not needed.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95


@dataclass(frozen=True)
class Gain:
    """The result of a paired t-test.

    Attributes:
        mean: Mean of the differences.
        margin: Half-width of the 95 % confidence interval of the mean; None for a single pair.
        p: Two-sided p-value; None for a single pair, or if all differences are equal.
        won: Number of pairs with a difference above 0.
        pairs: Number of pairs.
    """

    mean: float
    margin: float | None
    p: float | None
    won: int
    pairs: int


def paired_gain(differences: Sequence[float]) -> Gain:
    """The paired t-test of differences, at least one.

    Examples:
        >>> gain = paired_gain([0.05, 0.06, 0.07])
        >>> round(gain.mean, 3), round(gain.margin, 3), round(gain.p, 3), gain.won
        (0.06, 0.025, 0.009, 3)
    """
    count = len(differences)
    mean, won = statistics.fmean(differences), sum(difference > 0 for difference in differences)
    if count == 1:
        return Gain(mean, None, None, won, count)
    error = statistics.stdev(differences) / math.sqrt(count)
    p = None if error == 0 else 1 - within(mean / error, count - 1)
    return Gain(mean, t_quantile(count - 1) * error, p, won, count)


def within(t: float, freedom: int) -> float:
    """The probability that Student's t with integer degrees of freedom lies between -|t| and |t|.

    Source: Abramowitz and Stegun 1964, 26.7.3 and 26.7.4.
    """
    angle = math.atan2(abs(t), math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = (cosine if freedom % 2 else 1.0), 0.0
    for k in range(2 + freedom % 2, freedom + 1, 2):  # empty for one degree of freedom
        total += term
        term *= cosine**2 * (k - 1) / k
    return 2 / math.pi * (angle + sine * total) if freedom % 2 else sine * total


def t_quantile(freedom: int) -> float:
    """The value that |t| is below with a probability of 95 %."""
    low, high = 0.0, 20.0  # 12.7 for one degree of freedom
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle, freedom) < LEVEL else (low, middle)
    return high
