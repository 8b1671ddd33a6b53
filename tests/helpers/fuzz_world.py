"""What the tries of tests/fuzz.py begin from: small data sets, runs, an export, pictures, lists and settings files."""

import random
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from trees import OWN, write_folder, write_list

DATA = ["dataset.train_images=12", "dataset.val_images=3", "dataset.size=40", "dataset.augment.crop=[32,32]"]
SMALL = [
    "model.backbone.width=4",
    "schedule.rounds.label_ratios=[0.5]",
    "schedule.limit_steps=2",
    "schedule.start.labelled_batch=2",
    "split.ratio=1/4",
    "run.device=cpu",
    "run.progress=off",
    "run.report=false",
    "run.pictures=2",
]
SYNTHETIC = ["dataset.root=data", *DATA, *SMALL, "loss.contrast_weight=0"]
FOLDER = ["dataset.root=own", *OWN, "model.backbone.width=4", "model.aspp_rates=[1,3]", "model.aspp_branches=2"]
SETTINGS = """# @package _global_
defaults:
  - override /loss: supervised
seed: 3
dataset:
  train_images: 12
schedule:
  start: {labelled_batch: 2}
"""
FOREIGN = [
    "notes.txt",
    ".film.mkv.part",
    ".git/HEAD",
    "results (2).json",
    "thesis/report.html",
    "clip.mkv.part",
    "report.part",
]
"""Names of files that no command may touch, wherever they lie."""
IN_THE_WAY = ["index/p00.png", "overlay/clip.mp4", "predictions.json", "model.safetensors", "model.onnx", "config.json"]
IN_THE_WAY += [
    "README.md",
    "report.html",
    "report/x.png",
    "results.json",
    "metrics.jsonl",
    "config.yaml",
    "plan.json",
    "x.json",
]
"""Names of files that commands write, in a folder where somebody else has them."""


def made(world: Path, command: Callable[[list[str], tuple | None], int]) -> None:
    """Make all of it, in a folder that is the working directory of `command`."""
    own = write_folder(world / "own", masked=6, unmasked=2, val=2, size=32)
    for name in ("p01", "p02"):
        image = cv2.imread(str(own / f"images/{name}.png"))
        (own / f"images/{name}.png").unlink()
        cv2.imwrite(str(own / f"images/{name}.jpg"), image)
    pictures = world / "pictures"
    (pictures / "deep").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, size in (("p00.png", (32, 40)), ("p01.jpg", (40, 32)), ("deep/p02.png", (20, 20))):
        cv2.imwrite(str(pictures / name), generator.integers(0, 256, (*size, 3), np.uint8))
    video = cv2.VideoWriter(str(pictures / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (32, 24))
    for _ in range(4):
        video.write(generator.integers(0, 256, (24, 32, 3), np.uint8))
    video.release()
    write_list(world / "lists/labelled.txt", ["p00", "p01", "p03"])
    (world / "settings/experiment").mkdir(parents=True)
    (world / "settings/experiment/mine.yaml").write_text(SETTINGS)
    (world / "elsewhere").mkdir()
    (world / "elsewhere/secret.txt").write_text("nobody's business")
    commands: list[tuple[list[str], tuple | None]] = [
        ([*SYNTHETIC, "method=dmtc", "hydra.run.dir=runs/finished"], None),
        ([*SYNTHETIC, "method=dmt", "run.checkpoint_minutes=0", "hydra.run.dir=runs/stopped"], ("step", 6, 9)),
        ([*FOLDER, "method=supervised", "hydra.run.dir=runs/own"], None),
        (["job=export", "run=runs/own", "format=safetensors", "output=exported", "run.progress=off"], None),
        (["job=predict", "run=runs/own", "input=pictures", "output=predicted", "run.progress=off"], None),
        (["job=report", "run=runs/finished", "run.progress=off"], None),
    ]
    for arguments, stop in commands:
        code = command(arguments, stop)
        assert code == (-9 if stop else 0), (code, arguments)


def with_foreign_files(place: Path, chance: random.Random) -> dict[str, bytes]:
    """Files of somebody else, in folders that commands read or write; their paths and contents."""
    folders = [path for path in place.rglob("*") if path.is_dir() and not path.is_symlink()]
    told = {}
    for _ in range(6):
        told[str(chance.choice(folders).relative_to(place) / chance.choice(FOREIGN))] = chance.randbytes(20)
    if chance.random() < 0.4:
        told[f"out/{chance.choice(IN_THE_WAY)}"] = b"mine"
    for name, content in list(told.items()):
        try:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        except OSError:
            del told[name]
    return told
