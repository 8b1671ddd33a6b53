"""What `job=benchmark` measures for a published recipe: made-up images of the real sizes, in the real number.

python benchmarks/recipe.py dmtc_cityscapes_1_8
python benchmarks/recipe.py dmtc_voc_1_8 run.device=cpu
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from common import write_record

import dmtc
from dmtc.cost import measure_cost
from dmtc.data.cityscapes import LABEL_IDS
from dmtc.data.synthetic import synthetic
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.report import cost_page
from published import write_voc

DIFFERENT = 8
"""Pictures that are really different; the others are links to them."""


def main() -> None:
    """Measure one recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", help="dmtc_cityscapes_1_8, dmtc_voc_1_8 or another of conf/experiment")
    parser.add_argument("overrides", nargs="*", help="as behind run.py, such as job.seconds=1")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        where = write_cityscapes(Path(folder)) if "cityscapes" in given.recipe else write_many_voc(Path(folder))
        experiment = [f"experiment={given.recipe}", "job=benchmark", *where]
        components = Components(settle(dmtc.compose([*experiment, *given.overrides])))
        job = components.config["job"]
        cost = measure_cost(
            components, steps=job["steps"], seconds=job["seconds"], batches=job["batches"], report=print
        )
    precision = str(components.precision).removeprefix("torch.")
    record = {"recipe": given.recipe, "overrides": given.overrides, "precision": precision, **cost.to_json()}
    written = write_record(f"recipe_{given.recipe}_{components.device.type}", record, components.device)
    print(cost_page(cost, f"{given.recipe} on {written['environment']['device']}, {precision}"), end="")


def write_cityscapes(folder: Path) -> list[str]:
    """2,975 and 500 street scenes of 1024x2048 pixels; returns the overrides that name them."""
    scenes = synthetic(root=str(folder / "scenes"), seed=0, train_images=2 * DIFFERENT, val_images=1, size=1024)
    label_ids = np.zeros(256, np.uint8)
    label_ids[: scenes.num_classes] = LABEL_IDS[: scenes.num_classes]
    images, masks = folder / "leftImg8bit", folder / "gtFine"
    for part in (images / "train/aachen", images / "val/bonn", masks / "train/aachen", masks / "val/bonn"):
        part.mkdir(parents=True)
    pictures, truths = [], []
    for number, pair in enumerate(zip(scenes.train[::2], scenes.train[1::2], strict=True)):
        pictures.append(images / f"train/aachen/aachen_{number:06d}_000019_leftImg8bit.png")
        truths.append(masks / f"train/aachen/aachen_{number:06d}_000019_gtFine_labelIds.png")
        cv2.imwrite(str(pictures[-1]), np.concatenate([scenes.image(scene)[..., ::-1] for scene in pair], axis=1))
        cv2.imwrite(str(truths[-1]), label_ids[np.concatenate([scenes.mask(scene) for scene in pair], axis=1)])
    for city, count in (("train/aachen/aachen", 2975), ("val/bonn/bonn", 500)):
        names = [f"{city}_{number:06d}_000019" for number in range(count)]
        link(pictures, [images / f"{name}_leftImg8bit.png" for name in names])
        link(truths, [masks / f"{name}_gtFine_labelIds.png" for name in names])
    return [f"dataset.root={folder}", f"dataset.cache={folder / 'half'}"]


def write_many_voc(folder: Path) -> list[str]:
    """10,582 and 1,449 pictures of 375x500 pixels; returns the override that names them."""
    root = folder / "VOC2012"
    ids = write_voc(root, DIFFERENT)
    names = [f"2008_{number:06d}" for number in range(10582 - len(ids) - 1)]  # one more is there already
    scored = [f"2009_{number:06d}" for number in range(1449)]
    for kind, suffix in (("JPEGImages", ".jpg"), ("SegmentationClassAug", ".png")):
        link([root / kind / f"{id}{suffix}" for id in ids], [root / kind / f"{id}{suffix}" for id in names + scored])
    (root / "ImageSets/Segmentation/val.txt").write_text("".join(f"{id}\n" for id in scored))
    return [f"dataset.root={folder}"]


def link(sources: Sequence[Path], paths: Sequence[Path]) -> None:
    """Make every path that is not there another name of one of the sources."""
    for number, path in enumerate(paths):
        if not path.exists():
            os.link(sources[number % len(sources)], path)


if __name__ == "__main__":
    main()
