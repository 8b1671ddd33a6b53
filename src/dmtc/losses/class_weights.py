"""Weights of classes, given or by how many labelled pixels each has."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, runtime_checkable

from dmtc.core.class_counts import ClassCounts

WeightRule = Literal["inverse_frequency", "inverse_square_root", "effective_number"]
"""How the weight of a class follows from its number of pixels; see `dmtc.losses.WeightedCrossEntropy`."""


class LabelledClasses:
    """The classes of a data set, and what the masks of the labelled images hold of them.

    Args:
        number: C.
        count: Counts it; called at most once, as it reads all masks.
        counted: What was counted before, used instead.

    Examples:
        >>> LabelledClasses(2, lambda: ClassCounts(masks=2, pixels=[30, 10], images=[2, 1])).counts().pixels
        [30, 10]
    """

    def __init__(self, number: int, count: Callable[[], ClassCounts], counted: ClassCounts | None = None) -> None:
        self.number = number
        self.counted = counted
        self._count = count

    def counts(self) -> ClassCounts:
        """What the masks hold of each class."""
        if self.counted is None:
            self.counted = self._count()
        return self.counted


@runtime_checkable
class WeighsClasses(Protocol):
    """Optional method of a loss that weights classes; a run records the weights."""

    def weights_of_classes(self) -> list[float]:
        """The weight of each class."""
        ...


def weights_given(weights: Sequence[float]) -> list[float]:
    """The weights scaled to a mean of 1.

    Examples:
        >>> weights_given([1.0, 3.0])
        [0.5, 1.5]
    """
    mean = math.fsum(weights) / len(weights)
    return [weight / mean for weight in weights]


def weights_by_rule(rule: WeightRule, pixels: Sequence[int], beta: float) -> list[float]:
    """The weights of classes by their number of pixels, scaled to a mean of 1.

    A class without a pixel gets the weight of the rarest class that has some; without any pixel, all weigh the same.

    Args:
        rule: See `dmtc.losses.WeightedCrossEntropy`.
        pixels: Number of pixels of each class.
        beta: In [0, 1); for "effective_number" alone.

    Examples:
        >>> weights_by_rule("inverse_frequency", [30, 10, 0], beta=0.0)
        [0.42857142857142855, 1.2857142857142858, 1.2857142857142858]
    """
    rarest = min((number for number in pixels if number), default=1)
    return weights_given([_weight(rule, number or rarest, beta) for number in pixels])


def _weight(rule: WeightRule, number: int, beta: float) -> float:
    match rule:
        case "inverse_frequency":
            return 1 / number
        case "inverse_square_root":
            return 1 / math.sqrt(number)
        case "effective_number":
            # 1 - beta^n without the loss of digits that beta near 1 brings
            return (1 - beta) / -math.expm1(number * math.log(beta)) if beta else 1.0
