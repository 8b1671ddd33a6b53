"""Which terms weight classes, and how."""

from collections.abc import Mapping, Sequence

from dmtc.losses.class_weights import WeighsClasses
from dmtc.losses.terms import Term


def class_weights_of(terms: Sequence[Term], classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """The weight of each class, by term and class, of the terms that weight classes; the first call may read masks."""
    weighing = {term.name: term.loss for term in terms if isinstance(term.loss, WeighsClasses)}
    return {name: dict(zip(classes, loss.weights_of_classes(), strict=True)) for name, loss in weighing.items()}


def weights_lines(weights: Mapping[str, Mapping[str, float]]) -> list[str]:
    """One line for each term that weights classes.

    Examples:
        >>> weights_lines({"supervised": {"sky": 0.25, "pole": 1.75}})
        ['loss.supervised.class_weights: from 0.25 (sky) to 1.75 (pole), with a mean of 1']
    """
    lines = []
    for term, of in weights.items():
        (least, low), (most, high) = (pick(of.items(), key=lambda entry: entry[1]) for pick in (min, max))
        lines.append(f"loss.{term}.class_weights: from {low:.3g} ({least}) to {high:.3g} ({most}), with a mean of 1")
    return lines
