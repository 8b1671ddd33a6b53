"""Whole training of the published networks on a GPU against the plain loop that a user would write, both compiled.

python benchmarks/gpu.py           in bfloat16, on the first GPU
python benchmarks/gpu.py --tiny    small networks and images on whatever is there, to see that it works

A row is one network and method: images per second of the library and of the plain loop (`bare.py`), the peak memory of
the run, and how often the host waits for the device in each step.
"""

import json
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from bare import BATCH, beside, write_pictures
from common import arguments, write_record
from omegaconf import DictConfig

import dmtc

STEPS = 40
NETWORKS: dict[str, tuple[int, list[str]]] = {
    "DeepLabV2/ResNet-101": (321, ["model=deeplabv2", "model/backbone=resnet101"]),
    "DPT/DINOv2-B": (518, ["model=dpt", "model/backbone=dinov2_base", "model.channels=128"]),
}
"""Crop and options of each network."""
TINY: dict[str, tuple[int, list[str]]] = {
    "tiny": (32, ["model=segformer", "model/backbone=tiny", "model.backbone.width=8"])
}
METHODS = ("supervised", "unimatch_v2")
SIZE = (640, 576)
"""Width and height of the pictures, which cap the crops."""


def main() -> None:
    """Measure every network with every method."""
    given = arguments(__doc__, {"tiny": "small networks and images, also without a GPU"})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not given.tiny:
        raise SystemExit("gpu.py needs a GPU; --tiny tries it on the CPU")
    record: dict[str, Any] = {
        "setting": {"batch": BATCH, "precision": "bfloat16", "compiled": not given.tiny},
        "rows": [],
    }
    for network, (crop, options) in (TINY if given.tiny else NETWORKS).items():
        for method in METHODS:
            own = [*options, f"method={method}", f"dataset.augment.crop=[{crop},{crop}]", f"run.device={device.type}"]
            own += [f"run.compile={str(not given.tiny).lower()}"]
            row = {
                "network": network,
                "crop": crop,
                "method": method,
                **_row(own, 2 if given.tiny else STEPS, given.repeats),
            }
            record["rows"].append(row)
            print(json.dumps(row), flush=True)
    write_record("gpu_tiny" if given.tiny else "gpu", record, device)


def _row(options: Sequence[str], steps: int, repeats: int) -> dict[str, float | None]:
    """The figures of one network and method."""
    with tempfile.TemporaryDirectory() as place:
        root = write_pictures(Path(place) / "data", SIZE)
        run = [f"schedule.limit_steps={steps}", "schedule.start.evaluations=1", "schedule.online.evaluations=1"]
        run += ["run.report=false", "run.progress=off", f"schedule.start.labelled_batch={BATCH}", "split.ratio=1/2"]
        run += [f"schedule.online.labelled_batch={BATCH // 2}", f"schedule.online.unlabelled_batch={BATCH // 2}"]
        given = ["dataset=folder", f"dataset.root={root}", "model.weights.a=null", "schedule/optimizer=adamw", *run]
        given.append("run.precision=bfloat16")
        row = beside(dmtc.compose([*given, *options]), Path(place), repeats)
        if not torch.cuda.is_available():
            return {**row, "peak_bytes": None, "waits_per_step": None}
        torch.cuda.reset_peak_memory_stats()
        waits = [
            _waits(dmtc.compose([*given, *options, f"schedule.limit_steps={count}"]), Path(place) / f"{count}_steps")
            for count in (steps, 2 * steps)
        ]  # starting and scoring wait as often in both
        peak = torch.cuda.max_memory_allocated()
        return {**row, "peak_bytes": peak, "waits_per_step": (waits[1] - waits[0]) / steps}


def _waits(config: DictConfig, folder: Path) -> int:
    """How often the host waits for the device in a run."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            dmtc.train(config, folder)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in caught)


if __name__ == "__main__":
    main()
