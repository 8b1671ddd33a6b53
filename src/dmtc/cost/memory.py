"""Memory used by a step, and free memory of the device."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the memory of all tensors created in the context, while they are alive; shared memory counts once.

    This includes activations saved for the backward pass, those recomputed by gradient checkpointing, and intermediate
    results, but not the temporary memory within an operation.

    Attributes:
        peak: Peak bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._now = 0
        self._alive: set[int] = set()  # addresses

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operation and count its results."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        before = {tensor.untyped_storage().data_ptr() for tensor in _tensors((args, kwargs))}
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            address = storage.data_ptr()
            if storage.nbytes() and address not in before and address not in self._alive:
                self._alive.add(address)
                self._now += storage.nbytes()
                self.peak = max(self.peak, self._now)
                weakref.finalize(storage, self._freed, address, storage.nbytes())
        return result

    def _freed(self, address: int, nbytes: int) -> None:
        self._alive.discard(address)
        self._now -= nbytes


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def fixed_bytes(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Bytes of weights, gradients and optimizer state after a step."""
    tensors = [tensor for state in optimizer.state.values() for tensor in state.values() if isinstance(tensor, Tensor)]
    tensors += [tensor for p in model.parameters() for tensor in (p, p.grad) if tensor is not None]
    return sum(tensor.nbytes for tensor in tensors)


def free_bytes(device: torch.device) -> int | None:
    """Free bytes of a device, for the CPU of the machine; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def peak_bytes(device: torch.device) -> int | None:
    """Peak bytes of tensors since `reset_peak`; None if not counted on this device."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def reset_peak(device: torch.device) -> None:
    """Reset the peak of `peak_bytes`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
