"""How time and memory grow with the number of runs in a sweep's report, and of images in a data set.

python benchmarks/many.py

`job=report` on copies of short runs, with other seeds and learning rates; `job=check` and `job=plan` on a folder of
images of 16x16 pixels. Whole commands are timed; memory is the peak of the process.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import CHECKOUT, arguments, write_record
from PIL import Image

import dmtc
from dmtc.core.files import write_json
from dmtc.run.folder import RunFolder
from dmtc.run.origin import write_settings

RUNS, IMAGES = (10, 100, 1000), (1000, 10_000, 100_000)
METHODS, SEEDS = ("supervised", "supervised_long", "dmt", "fixmatch_ema"), 5
SHORT = ["dataset.train_images=24", "dataset.val_images=6", "dataset.size=48", "dataset.augment.crop=[32,32]"]
SHORT += ["model.backbone.width=8", "schedule.rounds.label_ratios=[0.5,1.0]", "schedule.limit_steps=2"]
SHORT += ["run.device=cpu", "run.progress=off", "run.report=false", "run.pictures=0"]


def main() -> None:
    """Measure all sizes."""
    arguments(__doc__)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        short = {method: _short_run(Path(place), method) for method in METHODS}
        for count in RUNS:
            folder = Path(place) / f"{count}_runs"
            _copies(short, folder, count)
            rows.append(
                {"command": "job=report", "of": "runs", "count": count, **_cost(["job=report", f"job.runs={folder}"])}
            )
            print(json.dumps(rows[-1]), flush=True)
        for count in IMAGES:
            root = _images(Path(place) / f"{count}_images", count)
            given = ["dataset=folder", f"dataset.root={root}", "split.ratio=1/8"]
            for job in ("check", "plan"):
                rows.append({"command": f"job={job}", "of": "images", "count": count, **_cost([f"job={job}", *given])})
                print(json.dumps(rows[-1]), flush=True)
    write_record("many", {"rows": rows}, torch.device("cpu"))


_STARTER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps({"seconds": time.perf_counter() - began, "peak_bytes": 1024 * usage.ru_maxrss}))
sys.exit(status != 0)
"""
"""Starts a command from a small process: at first, a process has the peak of the one that started it."""


def _cost(options: Sequence[str]) -> dict[str, float]:
    """Seconds and peak memory of a command."""
    command = [sys.executable, "-S", "-c", _STARTER, sys.executable, str(CHECKOUT / "run.py"), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def _short_run(place: Path, method: str) -> Path:
    return dmtc.train(
        dmtc.compose([f"method={method}", f"dataset.root={place}/data", *SHORT]), place / method
    ).folder.path


def _copies(runs: dict[str, Path], folder: Path, count: int) -> None:
    """As many runs, in which only seed, learning rate and score differ from those that were trained."""
    for number in range(count):
        method = METHODS[number % len(METHODS)]
        seed, rate = number // len(METHODS) % SEEDS, number // (len(METHODS) * SEEDS)
        run = folder / f"{method}_{rate}_{seed}"
        run.mkdir(parents=True)
        copy = RunFolder(run)
        config = RunFolder(runs[method]).read_config()
        config["seed"] = seed
        config["schedule"]["start"]["learning_rate"] = 0.01 * (1 + rate)
        copy.write_config(config)
        write_settings(copy, config, {})
        for path in runs[method].glob("*.json"):
            if path.name != "settings.json":  # another seed and rate
                shutil.copy(path, run / path.name)
        results = json.loads((runs[method] / "results.json").read_text())
        results["seed"] = seed
        results["miou"]["mean_last"] = 0.3 + 0.001 * (number % 100)
        write_json(run / "results.json", results)


def _images(root: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(count):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{number:06d}.png", compress_level=0)
        Image.fromarray(pixels[..., 0] % 3).save(root / "masks" / f"{number:06d}.png", compress_level=1)
    (root / "classes.txt").write_text("one\ntwo\nthree\n")
    (root / "val.txt").write_text("".join(f"{number:06d}\n" for number in range(0, count, 10)))
    return root


if __name__ == "__main__":
    main()
