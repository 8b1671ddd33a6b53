"""Record of the code, package versions and machine of a run."""

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from dmtc.machine.processes import current_processes

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless", "hydra-core", "omegaconf")


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Describe versions, machine and command as a JSON-serializable dict."""
    return {
        "command": sys.argv,
        "directory": str(Path.cwd()),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain")),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "machine": platform.machine(),
        "system": platform.platform(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "processes": current_processes().size,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
    }


def _git(*arguments: str) -> str | None:
    """Output of a git command in the checkout that this code runs from; None without a checkout or on failure."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
