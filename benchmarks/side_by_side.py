"""A training run beside busy programs, and alone: what it brings that OpenMP's threads wait passively.

python benchmarks/side_by_side.py

The built-in supervised run of 60 steps, in turns with the waiting that `run.py` chooses, with OpenMP's own (which spins
for some milliseconds before it sleeps), with none at all, and with one thread; alone on the machine, and beside a busy
process of one thread for each core.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
from common import CHECKOUT, arguments, seconds, write_record

STEPS = 60
RUN = ["method=supervised", f"schedule.limit_steps={STEPS}", "run.report=false", "run.progress=off", "run.device=cpu"]
WAYS: dict[str, dict[str, str]] = {
    "ours": {},
    "spinning": {"GOMP_SPINCOUNT": "300000"},  # what GNU's OpenMP does unless it is told otherwise
    "sleeping at once": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


def main() -> None:
    """Measure all, alone and beside others."""
    given = arguments(__doc__)
    threads = given.threads or os.cpu_count() or 1
    record: dict[str, Any] = {"setting": {"command": f"python run.py {' '.join(RUN)}", "threads": threads}}
    with tempfile.TemporaryDirectory() as place:
        data = f"dataset.root={place}/data"
        for name, busy in (("alone", 0), ("beside_busy_processes", os.cpu_count() or 1)):
            trained: dict[str, list[float]] = {way: [] for way in WAYS}

            def run(way: str, trained: dict[str, list[float]] = trained) -> None:
                folder = tempfile.mkdtemp(dir=place)
                environment = {"OMP_NUM_THREADS": str(threads)} | WAYS[way]
                kept = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
                command = [sys.executable, str(CHECKOUT / "run.py"), *RUN, data, f"hydra.run.dir={folder}"]
                subprocess.run(command, env=kept | environment, check=True, capture_output=True, cwd=folder)
                results = json.loads((Path(folder) / "results.json").read_text())
                trained[way].append(sum(phase["seconds"] for phase in results["phases"]))

            with others(busy):
                whole = seconds({way: lambda way=way: run(way) for way in WAYS}, given.repeats)
            times = {"command_seconds": whole, "training_seconds": {way: trained[way][1:] for way in WAYS}}
            medians = {kind: {way: median(values) for way, values in each.items()} for kind, each in times.items()}
            ratios = {
                kind: {way: value / each["ours"] for way, value in each.items()} for kind, each in medians.items()
            }
            record[name] = times | {"median": medians, "times_ours": ratios}
            for way in WAYS:
                print(f"{name}, {way}: trained in {medians['training_seconds'][way]:.2f} s,", end=" ")
                print(f"{ratios['training_seconds'][way]:.3f} times ours", flush=True)
    write_record("side_by_side", record, torch.device("cpu"))


@contextmanager
def others(count: int) -> Iterator[None]:
    """So many processes that do nothing but count, meanwhile."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
