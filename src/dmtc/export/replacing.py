"""Swaps parts of a network for others that compute the same and that exporters can follow."""

import copy
from collections.abc import Callable

from torch import nn


def with_parts(module: nn.Module, made: Callable[[nn.Module], nn.Module | None]) -> nn.Module:
    """The module itself, or a copy with other parts.

    Args:
        module: A network.
        made: What takes a part's place; None where the part stays.
    """
    if all(made(part) is None for part in module.modules()):
        return module
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for name, part in parent.named_children():
            if (other := made(part)) is not None:
                setattr(parent, name, other)
    return module
