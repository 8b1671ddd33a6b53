"""Marks of tests that are many of one kind."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow_but(values: Iterable[Any], quick: Collection[Any]) -> list[Any]:
    """Every value as a parameter; all but the quick ones are left to the long run, with `-m slow`.

    Raises:
        ValueError: One of the quick ones is not among the values.
    """
    values = list(values)
    if missing := [each for each in quick if each not in values]:
        raise ValueError(f"not a parameter: {missing}")
    return [each if each in quick else pytest.param(each, marks=pytest.mark.slow) for each in values]
