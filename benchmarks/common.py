"""Timing contenders in turns, in one run, and writing down what came out with the machine it came from."""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dmtc.machine.allocator import keep_freed_memory
from dmtc.machine.environment import describe_environment

CHECKOUT = Path(__file__).parents[1]
RESULTS = Path(os.environ.get("DMTC_RESULTS", CHECKOUT / "benchmarks" / "results"))
"""Where results are written; a trial goes elsewhere by the environment variable."""

LENT = ", our allocator setting"
"""Behind the name of published code that is given what `run.py` sets for itself (`dmtc.machine.allocator`)."""

Contender = Callable[[], object]
_LOAD = os.getloadavg()[0]
"""Processes that ran before this one did anything; more than there are cores disturb what is measured."""


def arguments(description: str | None, flags: Mapping[str, str] | None = None, **checkouts: str) -> argparse.Namespace:
    """The options that every benchmark has.

    Args:
        description: Of the benchmark.
        flags: Options without a value, each with what it does.
        checkouts: Options that take a checkout of published code, each with what it is a checkout of.
    """
    parser = argparse.ArgumentParser(description=description)
    for flag, what in (flags or {}).items():
        parser.add_argument(f"--{flag}", action="store_true", help=what)
    for option, what in checkouts.items():
        parser.add_argument(f"--{option}", type=Path, help=f"{what}; without it only this library is measured")
    parser.add_argument("--repeats", type=int, default=5, help="timed turns of each contender")
    parser.add_argument("--threads", type=int, default=None, help="threads of torch; all cores if not given")
    parser.add_argument("--contender", help=argparse.SUPPRESS)  # in a child process of `apart`
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    return given


def seconds(contenders: Mapping[str, Contender], repeats: int) -> dict[str, list[float]]:
    """Time contenders in turns, so that whatever else the machine does falls on all of them alike.

    Returns:
        Seconds of every turn by contender; a first turn of each is not timed.
    """
    for contender in contenders.values():
        contender()
    measured: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, contender in contenders.items():
            started = time.perf_counter()
            contender()
            measured[name].append(time.perf_counter() - started)
    return measured


def apart(names: Sequence[str], repeats: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Time contenders in turns, each turn in a process of its own, where `answer` is given the same name.

    For what takes gigabytes: the memory that one contender leaves to the allocator would change the time of the next.

    Returns:
        Seconds of every turn, after one that is not timed, and by how many bytes the process grew at its peak.
    """
    measured: dict[str, list[float]] = {name: [] for name in names}
    peaks = dict.fromkeys(names, 0)
    for _ in range(repeats):
        for name in names:
            command = [sys.executable, *sys.argv, "--contender", name]
            told = json.loads(
                subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split("\n")[-2]
            )
            measured[name].append(told["seconds"])
            peaks[name] = max(peaks[name], told["peak_bytes"])
    return measured, peaks


def answer(contender: Contender) -> None:
    """Print what `apart` asks its child processes for (Linux only)."""
    # Not `ru_maxrss`: a child process inherits its parent's peak. Writing 5 sets the peak to what is in use now.
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    contender()
    grown = _peak() - before
    started = time.perf_counter()
    contender()
    print(json.dumps({"seconds": time.perf_counter() - started, "peak_bytes": grown}))


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def write(name: str, setting: Mapping[str, Any], measured: Mapping[str, list[float]], **more: Any) -> dict[str, Any]:
    """Write `results/NAME.json`, and print the medians and their ratio to ours."""
    medians = {contender: statistics.median(times) for contender, times in measured.items()}
    record = {
        "setting": dict(setting),
        "seconds": dict(measured),
        "median_seconds": medians,
        "times_faster": {other: medians[other] / medians["ours"] for other in medians if not other.startswith("ours")},
        **more,
    }
    record = write_record(name, record, torch.device("cpu"))
    for contender, value in medians.items():
        ratio = record["times_faster"].get(contender)
        print(f"{name}: {contender} {value:.4g} s" + (f", ours is {ratio:.1f} times faster" if ratio else ""))
    return record


def write_record(name: str, record: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Write `results/NAME.json`: a record, and where and when it was measured."""
    # What was typed names folders of one machine; how to repeat it stands at the head of each benchmark.
    environment = {
        key: value for key, value in describe_environment(device).items() if key not in ("command", "directory")
    }
    more = {"uncommitted_changes": _changed(), "cores": os.cpu_count(), "load_before": round(_LOAD, 1)}
    whole = {
        "benchmark": name,
        **record,
        "environment": environment | more,
        "date": datetime.date.today().isoformat(),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n")
    return whole


def _changed() -> bool:
    """Whether what is measured differs from the commit; the results before this one do not count."""
    parts = ["src", "conf", "benchmarks", ":!benchmarks/results"]
    status = ["git", "-C", str(CHECKOUT), "status", "--porcelain", "--", *parts]
    return bool(subprocess.run(status, check=False, capture_output=True, text=True).stdout)


__all__ = [
    "LENT",
    "Contender",
    "answer",
    "apart",
    "arguments",
    "keep_freed_memory",
    "seconds",
    "write",
    "write_record",
]
