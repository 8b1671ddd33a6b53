"""Checks that several changes of color share; each returns one sentence per error."""

from collections.abc import Sequence


def probability_faults(**values: float) -> list[str]:
    """Name the values that are no probabilities."""
    return [
        f"views.color.{name} should be a probability in [0, 1], but is {value}"
        for name, value in values.items()
        if not 0 <= value <= 1
    ]


def range_faults(name: str, values: Sequence[float], least: float, most: float = float("inf")) -> list[str]:
    """Check a smallest and a largest value, both finite and within `least` and `most`."""
    if len(values) == 2 and least <= values[0] <= values[1] <= most and values[1] < float("inf"):
        return []
    within = f"of at least {least:g}" if most == float("inf") else f"in [{least:g}, {most:g}]"
    return [f"views.color.{name} should be a minimum and a maximum {within}, but is {values}"]
