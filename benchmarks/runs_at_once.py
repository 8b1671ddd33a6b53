"""n training runs at once against one after the other, on the CPU.

python benchmarks/runs_at_once.py --repeats 1

The built-in supervised run of 60 steps with n seeds: as a sweep (`-m`) with Hydra's own launcher and with joblib, and
as n commands, one after the other and all at once. A whole command is timed, with its start and its scoring.
"""

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from statistics import median
from typing import Any

import torch
from common import CHECKOUT, arguments, write_record

STEPS, COUNTS = 60, (2, 4, 8)
RUN = ["method=supervised", f"schedule.limit_steps={STEPS}", "run.report=false", "run.progress=off", "run.device=cpu"]
PAIRS = {"sweep, joblib": "sweep, one after the other", "by hand, all at once": "by hand, one after the other"}
"""Ways that run n at once, each with the way it is compared with."""


def main() -> None:
    """Measure every number of runs."""
    given = arguments(__doc__)
    record: dict[str, Any] = {"setting": {"command": f"python run.py {' '.join(RUN)}"}, "rows": []}
    with tempfile.TemporaryDirectory() as place:
        sweep, by_hand = partial(_sweep, place), partial(_by_hand, place)
        sweep(1)  # draws the images
        for count in COUNTS:
            ways = {
                "sweep, one after the other": partial(sweep, count),
                "sweep, joblib": partial(sweep, count, "hydra/launcher=joblib"),
                "by hand, one after the other": partial(by_hand, count, at_once=1),
                "by hand, all at once": partial(by_hand, count, at_once=count),
            }
            times: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(given.repeats):
                for way, run in ways.items():
                    began = time.perf_counter()
                    run()
                    times[way].append(time.perf_counter() - began)
            medians = {way: median(values) for way, values in times.items()}
            ratios = {way: medians[way] / medians[plain] for way, plain in PAIRS.items()}
            record["rows"].append({"runs": count, "seconds": times, "median_seconds": medians, "ratios": ratios})
            print(f"{count} runs: {', '.join(f'{way}: {ratio:.2f}' for way, ratio in ratios.items())}", flush=True)
    write_record("runs_at_once", record, torch.device("cpu"))


def _sweep(place: str, count: int, *options: str) -> None:
    folder = tempfile.mkdtemp(dir=place)
    seeds = "seed=" + ",".join(map(str, range(count)))
    command = [sys.executable, str(CHECKOUT / "run.py"), "-m", *RUN, seeds, f"hydra.sweep.dir={folder}", *options]
    subprocess.run([*command, f"dataset.root={place}/data"], env=_environment(), check=True, capture_output=True)


def _by_hand(place: str, count: int, at_once: int) -> None:
    folder, waiting, running = tempfile.mkdtemp(dir=place), list(range(count)), []
    while waiting or running:
        while waiting and len(running) < at_once:
            seed = waiting.pop(0)
            own = [f"seed={seed}", f"hydra.run.dir={folder}/{seed}", f"dataset.root={place}/data"]
            command = [sys.executable, str(CHECKOUT / "run.py"), *RUN, *own]
            running.append(subprocess.Popen(command, env=_environment(), stdout=subprocess.DEVNULL))
        if running.pop(0).wait():
            raise SystemExit("a run failed; see above")


def _environment() -> dict[str, str]:
    """As of a user who sets nothing."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}


if __name__ == "__main__":
    main()
