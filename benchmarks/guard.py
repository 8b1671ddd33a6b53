"""Has anything become slower? Compares speed ratios of this machine with the stored ones; run it before a release.

python benchmarks/guard.py --threads 1           measures for some minutes on an otherwise idle machine
python benchmarks/guard.py --threads 1 --store   also keeps what was measured in results/guard.json

Each figure is the library's speed over that of something plain, measured in turns in one run, so that it says little
about the machine. A part below 0.85 of what is stored is named, and the exit code is 1.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import cv2
import torch
from bare import measured, write_pictures
from common import RESULTS, arguments, keep_freed_memory, seconds, write_record
from contrast import SETTING, maps, ours
from PIL import Image

import dmtc
from dmtc.core.randomness import generator_of
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.losses import RegionalContrast, SharedContrast

LEAST = 0.85
"""Share of the stored ratio below which a part fails."""
RUN = Path(__file__).parents[1] / "run.py"


def main() -> int:
    """Measure, compare, and say what became slower."""
    given = arguments(__doc__, {"store": "keep what was measured"})
    keep_freed_memory()
    found = {}
    for name, measure in PARTS.items():
        found[name] = measure(given.repeats)
        print(f"{name}: {found[name]:.3f}", flush=True)
    path = RESULTS / "guard.json"
    stored = json.loads(path.read_text("utf-8"))["ratios"] if path.is_file() else {}
    if given.store:
        setting = {"threads": torch.get_num_threads(), "repeats": given.repeats}
        write_record("guard", {"setting": setting, "ratios": found}, torch.device("cpu"))
        return 0
    faults = slower(found, stored)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def slower(found: Mapping[str, float], stored: Mapping[str, float]) -> list[str]:
    """A line for each part whose ratio fell below `LEAST` of the stored one, or that was never stored."""
    lines = [f"{name}: not stored yet; use --store" for name in found if name not in stored]
    for name, before in stored.items():
        if name in found and found[name] < LEAST * before:
            lines.append(f"{name}: {found[name]:.3f} is {found[name] / before:.2f} of the stored {before:.3f}")
    return lines


def training(method: str) -> Callable[[int], float]:
    """Whole training of a method over its plain loop (`bare.py`)."""

    def ratio(repeats: int) -> float:
        with tempfile.TemporaryDirectory() as place:
            root = write_pictures(Path(place) / "data")
            options = [f"method={method}", "run.precision=float32", "model/tuning=frozen"]
            return measured(options, root, Path(place), repeats)["ratio"]

    return ratio


def contrast(loss: type[RegionalContrast]) -> Callable[[int], float]:
    """The time of its matrix products alone, for all queries and cells of a batch, over that of the whole loss."""

    def ratio(repeats: int) -> float:
        embedding, _, _ = maps()
        cells = embedding.detach().permute(0, 2, 3, 1).flatten(0, 2)
        queries = torch.randn(SETTING["queries"], SETTING["channels"])

        def products() -> None:
            for _ in range(SETTING["classes"]):
                torch.mm(queries @ cells.T, cells)

        return _ratio({"plain": products, "ours": ours(loss)}, repeats)

    return ratio


def loading(repeats: int) -> float:
    """Reading crops over opening the same pictures with Pillow and cutting them."""
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as place:
        root = write_pictures(Path(place) / "data")
        options = ["dataset=folder", f"dataset.root={root}", "dataset.augment.crop=[160,160]", "split.ratio=full"]
        components = Components(settle(dmtc.compose(options)))
        dataset, augment = components.dataset, components.augment
        ids = [image for image in dataset.images if image not in dataset.val]

        def read() -> None:
            for number, image in enumerate(ids):
                augment(dataset.sample(image), generator_of(number))

        def pillow() -> None:
            for image in ids:
                with Image.open(root / "images" / f"{image}.jpg") as picture:
                    picture.resize((240, 180), Image.Resampling.BILINEAR).crop((20, 10, 180, 170)).tobytes()

        return _ratio({"plain": pillow, "ours": read}, repeats)


def starting(repeats: int) -> float:
    """Importing what every run needs, over a whole `job=plan`."""

    def started(*command: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, *command], check=True, capture_output=True)

    plain = started("-c", "import torch, torchvision, timm")
    return _ratio({"plain": plain, "ours": started(str(RUN), "job=plan")}, repeats)


def _ratio(contenders: Mapping[str, Callable[[], object]], repeats: int) -> float:
    times = seconds(contenders, repeats)
    return median(plain / own for plain, own in zip(times["plain"], times["ours"], strict=True))


PARTS: dict[str, Callable[[int], float]] = {
    "training, supervised": training("supervised"),
    "training, fixmatch_ema": training("fixmatch_ema"),
    "regional contrast": contrast(RegionalContrast),
    "regional contrast, shared keys": contrast(SharedContrast),
    "loading": loading,
    "start of job=plan": starting,
}

if __name__ == "__main__":
    began = time.perf_counter()
    code = main()
    print(f"in {time.perf_counter() - began:.0f} s")
    raise SystemExit(code)
