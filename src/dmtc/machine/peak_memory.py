"""Peak memory use of training."""

import resource
import sys

import torch


def reset_peak_memory(device: torch.device) -> None:
    """Reset the peak on CUDA; elsewhere it cannot be reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: on CUDA, allocated since the last reset; elsewhere, resident in the process's lifetime."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return resident if sys.platform == "darwin" else resident * 1024
