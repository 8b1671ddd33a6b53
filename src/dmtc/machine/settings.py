"""The `run` config group: how a run uses the machine."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from dmtc.core.errors import ConfigError
from dmtc.core.registry import argument_faults
from dmtc.machine.cores import free_cores
from dmtc.machine.processes import Processes


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Settings in `conf/run/*.yaml`, which documents each of them."""

    device: str
    precision: Literal["auto", "float32", "bfloat16"]
    workers: int | Literal["auto"]
    accumulate: int
    compile: bool
    sync_batchnorm: bool
    parallel_students: bool
    progress: Literal["auto", "bars", "lines", "off"]
    log_every: int
    label_batch: int
    score_pseudo_labels: bool
    scored_unlabelled: int
    report: bool
    pictures: int
    checkpoint_minutes: float
    on_nonfinite: Literal["stop", "skip"]
    debug: bool
    image_cache: str | None
    gradient_checkpointing: bool
    test: bool
    monitor: str = "miou"  # runs from before the option have no other


_LEAST: dict[str, int] = {
    "workers": 0,
    "accumulate": 1,
    "log_every": 1,
    "label_batch": 1,
    "scored_unlabelled": 1,
    "pictures": 0,
    "checkpoint_minutes": 0,
}


def run_faults(spec: Mapping[str, Any]) -> list[str]:
    """List every error in the `run` part of a config, one sentence each."""
    if faults := argument_faults(RunSettings, spec, "run"):
        return faults
    faults = [
        f"run.{key} should be at least {least}, but is {spec[key]}"
        for key, least in _LEAST.items()
        if spec[key] != "auto" and (math.isnan(spec[key]) or spec[key] < least)
    ]
    if spec["sync_batchnorm"] and spec["parallel_students"]:
        faults.append("run.sync_batchnorm needs processes that train one network, run.parallel_students one for each")
    if spec["compile"] and spec["gradient_checkpointing"]:
        faults.append("run.gradient_checkpointing and run.compile cannot both be true: choose one")
    return faults


def pick_device(device: str, processes: Processes) -> torch.device:
    """The device that `run.device` selects for this process.

    Raises:
        ConfigError: The machine lacks this device, or has too few for all processes.
    """
    if processes.size > 1:
        return _own_device(device, processes)
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ConfigError(f"run.device={device!r} is not a device; use auto, cpu, cuda, cuda:1 or mps") from None
    if chosen.type == "cpu":
        return torch.device("cpu")
    if chosen.type == "cuda" and not (torch.cuda.is_available() and (chosen.index or 0) < torch.cuda.device_count()):
        raise ConfigError(f"run.device={device!r}: this machine has {torch.cuda.device_count()} CUDA devices")
    if chosen.type != "cuda":
        _try(device, chosen)
    return chosen


def _try(device: str, chosen: torch.device) -> None:
    """Try to compute on a device; PyTorch accepts names of many devices that it was not built for.

    Raises:
        ConfigError: The device does not work.
    """
    try:
        torch.zeros(1, device=chosen).add_(1).item()  # item fails on "meta", which holds no values
    # Missing devices raise various errors, AssertionError and ModuleNotFoundError among them.
    except Exception as error:
        reason = " ".join(str(error).split(". ")[0].split())[:120]
        raise ConfigError(
            f"run.device={device!r}: this machine has no such device ({reason}); use auto, cpu, or cuda"
        ) from None


def _own_device(device: str, processes: Processes) -> torch.device:
    """The device of one of several processes."""
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(
            f"run.device={device!r}: several processes need auto, cpu or cuda, which gives each its own device"
        )
    count = torch.cuda.device_count()
    if device == "cpu" or (device == "auto" and count == 0):
        return torch.device("cpu")
    if processes.local_size > count:
        raise ConfigError(f"{processes.local_size} processes on this machine, but {count} CUDA devices")
    torch.cuda.set_device(processes.local_rank)
    return torch.device("cuda", processes.local_rank)


def pick_precision(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of the forward pass; weights and losses stay in float32."""
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return getattr(torch, precision)


def multiplies_in_bfloat16() -> bool:
    """Whether the processor has instructions for it; without them, bfloat16 is slower than float32."""
    known = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def pick_workers(workers: int | str, device: torch.device, processes: Processes) -> int:
    """Number of dataloader workers for this process: 0 on the CPU, where they would take cores from training."""
    if workers == "auto":
        return min(8, max(1, free_cores() // processes.local_size)) if device.type == "cuda" else 0
    return int(workers)
