"""The `run` group: how a run uses the machine."""

import os
from dataclasses import dataclass
from typing import Literal

import torch

from dmtc.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What `conf/run/*.yaml` holds; see there for the meaning of each."""

    device: str
    precision: Literal["auto", "float32", "bfloat16"]
    workers: int | Literal["auto"]
    accumulate: int
    compile: bool
    progress: Literal["auto", "bars", "lines", "off"]
    log_every: int
    label_batch: int
    score_pseudo_labels: bool
    pictures: int
    checkpoint_minutes: float
    on_nonfinite: Literal["stop", "skip"]
    debug: bool
    image_cache: str | None = None

    def __post_init__(self) -> None:
        if not self.checkpoint_minutes >= 0:
            raise ConfigError(f"run.checkpoint_minutes should be at least 0, but is {self.checkpoint_minutes}")


def pick_device(device: str) -> torch.device:
    """The device that `run.device` means on this machine.

    Raises:
        ConfigError: No such device here.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ConfigError(f"run.device={device!r} is no device; use auto, cpu, cuda, cuda:1 or mps") from None
    if chosen.type == "cuda" and not (torch.cuda.is_available() and (chosen.index or 0) < torch.cuda.device_count()):
        raise ConfigError(f"run.device={device!r}: this machine has {torch.cuda.device_count()} CUDA devices")
    return chosen


def pick_precision(precision: str, device: torch.device) -> torch.dtype:
    """The type of the forward pass; weights and losses stay in float32."""
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return getattr(torch, precision)


def pick_workers(workers: int | str, device: torch.device) -> int:
    """Loader processes: on the CPU they would only take cores from the training itself."""
    if workers == "auto":
        return min(8, os.cpu_count() or 1) if device.type == "cuda" else 0
    return int(workers)
