"""Gradient checkpointing: recomputes a block's activations in the backward pass instead of storing them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]


def recompute_blocks(backbone: nn.Module) -> int:
    """Make a backbone store only the inputs of its blocks for the backward pass.

    Outputs, gradients and running statistics stay bit-identical: recomputation draws the same random numbers, and batch
    normalization does not count the batch twice. The cost is about one more forward pass of the backbone. Nothing
    changes in evaluation mode or without gradients.

    Args:
        backbone: Changed in place; its weights keep their names and values.

    Returns:
        The number of blocks.

    Examples:
        >>> from dmtc.models import BACKBONES
        >>> recompute_blocks(BACKBONES.build({"name": "tiny", "width": 8}))
        3
    """
    blocks = _blocks(backbone)
    for block in blocks:
        block.forward = _Recomputed(block)
    return len(blocks)


class _Recomputed:
    """A block's forward pass with checkpointing. An object, not a closure, so that a copied block gets its own."""

    def __init__(self, block: nn.Module) -> None:
        self._block = block
        self._statistics = [module for module in block.modules() if isinstance(module, _NormBase)]

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        forward = partial(type(self._block).forward, self._block)
        if not (self._block.training and torch.is_grad_enabled()):
            return forward(*inputs, **named)
        from torch.utils.checkpoint import checkpoint  # slow to import, and rarely needed

        return checkpoint(forward, *inputs, use_reentrant=False, context_fn=self._contexts, **named)

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), self._statistics_kept()

    @contextmanager
    def _statistics_kept(self) -> Iterator[None]:
        """Make the recomputation update copies of the running statistics."""
        kept = [(module, name, value) for module in self._statistics for name, value in module.named_buffers()]
        try:
            for module, name, value in kept:
                setattr(module, name, value.clone())
            yield
        finally:
            for module, name, value in kept:
                setattr(module, name, value)


def _blocks(module: nn.Module) -> list[nn.Module]:
    """The innermost members of sequences that contain several layers: residual blocks, transformer blocks."""
    found: list[nn.Module] = []
    for child in module.children():
        inside = _blocks(child)
        if inside:
            found += inside
        elif isinstance(module, nn.Sequential | nn.ModuleList) and _has_layers(child):
            found.append(child)
    return found


def _has_layers(module: nn.Module) -> bool:
    if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return False
    return sum(any(True for _ in part.parameters(recurse=False)) for part in module.modules()) > 1
