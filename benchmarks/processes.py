"""One run by two processes under torchrun against the same run by one, with a thread for each process, on the CPU.

python benchmarks/processes.py --repeats 3

Both train EfficientNet-Lite0 with a SegFormer head on the same batches; the run itself says how long its steps took.
Starting and scoring are not timed. On two cores, 2 would be all that is to be had.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch
from bare import NETWORK, write_pictures
from common import CHECKOUT, arguments, write_record

STEPS, BATCH, CROP = 24, 16, 160
RUN = ["method=supervised", f"schedule.limit_steps={STEPS}", "schedule.start.evaluations=1", "run.report=false"]
RUN += ["run.progress=off", "split.ratio=full", f"schedule.start.labelled_batch={BATCH}", "dataset=folder"]
RUN += [f"dataset.augment.crop=[{CROP},{CROP}]", *NETWORK]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def main() -> None:
    """Measure one and two processes in turns, for a trained and a frozen backbone."""
    given = arguments(__doc__)
    record: dict[str, Any] = {"rows": []}
    with tempfile.TemporaryDirectory() as place:
        root = write_pictures(Path(place) / "data")
        for tuning in ("full", "frozen"):
            rates: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(given.repeats):
                for count, kept in rates.items():
                    kept.append(_images_per_second(count, root, Path(place), tuning))
            medians = {count: median(values) for count, values in rates.items()}
            row = {"tuning": tuning, "images_per_s": rates, "ratio": medians[2] / medians[1]}
            record["rows"].append(row)
            print(f"{tuning}: {medians[1]:.1f} and {medians[2]:.1f} images/s, {row['ratio']:.2f} times", flush=True)
    record["setting"] = {"network": "EfficientNet-Lite0, SegFormer head", "batch": BATCH, "crop": CROP, "steps": STEPS}
    write_record("processes", record, torch.device("cpu"))


def _images_per_second(count: int, root: Path, place: Path, tuning: str) -> float:
    folder = Path(tempfile.mkdtemp(dir=place))
    own = [f"dataset.root={root}", f"hydra.run.dir={folder}", f"model/tuning={tuning}"]
    start = [*TORCHRUN, f"--nproc-per-node={count}"] if count > 1 else [sys.executable]
    command = [*start, str(CHECKOUT / "run.py"), *RUN, *own]
    subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
    (phase,) = json.loads((folder / "results.json").read_text())["phases"]
    return phase["train_images_per_s"]


if __name__ == "__main__":
    main()
