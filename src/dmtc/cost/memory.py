"""Memory: what a step keeps, and what the device has free."""

from collections import Counter
from pathlib import Path

import torch
from torch import Tensor, UntypedStorage, nn
from torch.autograd.graph import saved_tensors_hooks


class KeptBytes(saved_tensors_hooks):
    """Counts what autograd keeps for the backward pass; memory that two operations share counts once.

    Args:
        model: Its parameters are not counted.

    Attributes:
        peak: The most bytes that were kept at once.
    """

    def __init__(self, model: nn.Module) -> None:
        self.peak = 0
        self._kept = 0
        self._users: Counter[int] = Counter()  # by storage
        self._own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        super().__init__(lambda tensor: _Kept(self, tensor), lambda kept: kept.tensor)

    def keep(self, storage: UntypedStorage) -> None:
        """One more operation keeps a storage."""
        if storage.data_ptr() not in self._own:
            self._users[storage.data_ptr()] += 1
            if self._users[storage.data_ptr()] == 1:
                self._kept += storage.nbytes()
                self.peak = max(self.peak, self._kept)

    def drop(self, storage: UntypedStorage) -> None:
        """One operation less keeps it."""
        if storage.data_ptr() not in self._own:
            self._users[storage.data_ptr()] -= 1
            if self._users[storage.data_ptr()] == 0:
                self._kept -= storage.nbytes()


class _Kept:
    """A tensor that an operation keeps until its backward pass is done."""

    def __init__(self, count: KeptBytes, tensor: Tensor) -> None:
        self.tensor = tensor
        self._count = count
        count.keep(tensor.untyped_storage())

    def __del__(self) -> None:
        self._count.drop(self.tensor.untyped_storage())


def fixed_bytes(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Weights, gradients and what the optimizer keeps, after a step."""
    tensors = [tensor for state in optimizer.state.values() for tensor in state.values() if isinstance(tensor, Tensor)]
    tensors += [tensor for p in model.parameters() for tensor in (p, p.grad) if tensor is not None]
    return sum(tensor.nbytes for tensor in tensors)


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free on a device, for the CPU that of the machine; None where that cannot be told."""
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
    """The most memory that tensors held since `forget_peak`; None where it is not counted."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def forget_peak(device: torch.device) -> None:
    """Count the peak anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
