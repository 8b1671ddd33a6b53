"""Reads and changes the feature maps inside a network, by a hook on the part that makes them."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from dmtc.core.errors import ConfigError

USUAL = ("backbone", "encoder")
"""What parts that make features are called, in torchvision and in segmentation_models_pytorch."""


class Tap:
    """A hook on one part of a network. A copied network has its own.

    Attributes:
        wanted: Whether the maps of the next pass are kept.
        perturb: Changes the maps [(B, c_i, h_i, w_i)] of the next pass; None leaves them.
        deepest: The last map of the pass, after `perturb`; None before one.
    """

    def __init__(self) -> None:
        self.wanted = False
        self.perturb: Callable[[list[Tensor]], list[Tensor]] | None = None
        self.deepest: Tensor | None = None

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        """What torch calls after the part; a result other than None replaces its output."""
        if not self.wanted:
            return None
        maps = maps_of(output)
        if self.perturb is not None and maps:
            # The compiler would replace NumPy's generators by torch's.
            maps = cast(Any, torch.compiler.disable)(self.perturb)(maps)
            output = _with_maps(output, iter(maps))
        self.deepest = maps[-1] if maps else None
        return output


def part_of(network: nn.Module, name: str | None, title: str) -> str | None:
    """The dotted name of the part that makes features.

    Args:
        network: The network.
        name: As the user gave it; None takes a part that is called as usual, if there is one.
        title: Of the network, for the message.

    Raises:
        ConfigError: There is no such part.
    """
    if name is None:
        return next((usual for usual in USUAL if isinstance(getattr(network, usual, None), nn.Module)), None)
    parts = dict(network.named_modules())
    if not name or name not in parts:
        known = ", ".join(child for child, _ in network.named_children())
        raise ConfigError(f"model.features: {title} has no part {name!r}; its parts are {known or 'none'}")
    return name


def maps_of(output: Any) -> list[Tensor]:
    """The maps (B, c, h, w) in what a part returns, in order: a tensor, or a list or mapping of tensors."""
    if isinstance(output, Tensor):
        return [output] if output.ndim == 4 else []
    inner = output.values() if isinstance(output, Mapping) else output if isinstance(output, list | tuple) else ()
    return [each for each in inner if isinstance(each, Tensor) and each.ndim == 4]


def _with_maps(output: Any, maps: Any) -> Any:
    """The output with its maps replaced in order."""
    if isinstance(output, Tensor):
        return next(maps)
    if isinstance(output, Mapping):
        pairs = {key: next(maps) if maps_of(value) else value for key, value in output.items()}
        return type(output)(**pairs) if not isinstance(output, dict) else type(output)(pairs)
    replaced = [next(maps) if isinstance(one, Tensor) and one.ndim == 4 else one for one in output]
    return type(output)(*replaced) if hasattr(output, "_fields") else type(output)(replaced)
