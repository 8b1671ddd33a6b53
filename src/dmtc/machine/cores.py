"""How many processor cores this process may use. Works without torch."""

import math
import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

_CHOSEN_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables by which a user, torchrun or joblib sets the number of threads."""
_OURS = "DMTC_LIMITED_THREADS"
"""Beside OMP_NUM_THREADS, if `limit_threads` set it."""


def free_cores(root: Path = Path("/")) -> int:
    """The cores of this process: those it may run on, but no more than its control group's share of time.

    A container with `--cpus=2` on a machine of 64 cores may run on all of them, for 2 seconds of time per second.

    Args:
        root: Where `proc` and `sys` are.
    """
    share = _share(root)
    return _allowed() if share is None else max(1, min(_allowed(), math.ceil(share)))


def limit_threads(environment: MutableMapping[str, str], root: Path = Path("/")) -> None:
    """Give torch as many threads as there are free cores, if their share of time is smaller and nobody else set them.

    OpenMP knows the cores that a process may run on, but not its share of time. It reads the environment once, when
    torch is imported, so call this first.
    """
    if not any(name in environment for name in _CHOSEN_BY) and (cores := free_cores(root)) < _allowed():
        environment["OMP_NUM_THREADS"] = environment[_OURS] = str(cores)


def release_threads(environment: MutableMapping[str, str]) -> None:
    """Undo `limit_threads` for processes to come, so that a launcher can divide the cores among them."""
    if _is_ours(environment):
        del environment["OMP_NUM_THREADS"], environment[_OURS]


def threads_are_chosen(environment: Mapping[str, str]) -> bool:
    """Whether the user, torchrun or joblib set the number of threads."""
    return any(name in environment for name in _CHOSEN_BY) and not _is_ours(environment)


def _is_ours(environment: Mapping[str, str]) -> bool:
    return _OURS in environment and environment.get("OMP_NUM_THREADS") == environment[_OURS]


def _allowed() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _share(root: Path) -> float | None:
    """Seconds of processor time per second that the control groups allow; None for no limit."""
    limits = [limit for path in _groups(root) if (limit := _limit(path)) is not None]
    return min(limits, default=None)


def _groups(root: Path) -> list[Path]:
    """Folders of this process's control group and all above it, of version 2 and of version 1's `cpu`."""
    mounted = root / "sys" / "fs" / "cgroup"
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return [mounted, mounted / "cpu"]
    found = [mounted, mounted / "cpu"]
    for line in lines:
        _, kinds, name = line.split(":", 2)
        if not kinds or "cpu" in kinds.split(","):
            top = mounted / "cpu" if kinds else mounted
            own = Path(name.lstrip("/"))
            found += [top / own, *(top / above for above in own.parents)]
    return found


def _limit(group: Path) -> float | None:
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return None if quota.strip() in ("max", "-1") else float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
