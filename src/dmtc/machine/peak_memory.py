"""How much memory training has taken at most."""

import resource
import sys

import torch


def reset_peak_memory(device: torch.device) -> None:
    """Begin to count anew, where that can be."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Bytes: on CUDA the phase's most allocated memory, elsewhere the most the whole process ever held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024
