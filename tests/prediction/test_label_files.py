"""`job=label`: pseudo-labels as masks that `dataset=folder` reads, and as COCO's polygons, on a run of two steps."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from dmtc.conversion.layers import Polygons
from dmtc.data import DATASETS
from dmtc.prediction.polygons import polygons_of
from trees import FOLDER_ARGUMENTS


@pytest.fixture(scope="module")
def pictures() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    return {name: cv2.resize(generator.integers(0, 256, (5, 6, 3), np.uint8), (40, 30)) for name in ("a", "day/b")}


@pytest.fixture
def label(command, finished, pictures, tmp_path):
    """`label("job.threshold=0.5")` -> exit code, stdout, stderr; the results lie in tmp_path/out."""
    for name, picture in pictures.items():
        (path := tmp_path / "in" / f"{name}.png").parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)

    def call(*arguments):
        given = ("job=label", f"run={finished.folder.path}", "input=in", "output=out", "run.device=cpu", *arguments)
        return command(*given, small_run=False)

    return call


def drawn(flat: list[float], shape: tuple[int, ...]) -> np.ndarray:
    """bool (H, W), as `job=convert` fills a polygon."""
    canvas = np.zeros(shape, np.uint8)
    Polygons("it", [np.array(flat, np.float64).reshape(-1, 2)]).paint(canvas, {"it": 1})
    return canvas > 0


def middle(finished, pictures) -> float:
    """A threshold that keeps about half of the pixels."""
    return round(float(np.median([finished.prediction(one).confidence for one in pictures.values()])), 4)


def test_masks_are_read_back_and_low_confidence_is_ignored(label, finished, pictures, tmp_path):
    threshold = middle(finished, pictures)
    code, out, err = label(f"job.threshold={threshold}")
    assert code == 0, err
    arguments = {"images": str(tmp_path / "in"), "masks": str(tmp_path / "out/masks"), "val_fraction": 0.5}
    dataset = DATASETS.build({**FOLDER_ARGUMENTS, **arguments, "classes": str(tmp_path / "out/classes.yaml")})
    assert dataset.classes == tuple(finished.dataset.classes)
    kept, total = np.zeros(len(dataset.classes)), np.zeros(len(dataset.classes))
    for name, picture in pictures.items():
        seen = finished.prediction(picture)
        wanted = np.where(seen.confidence >= threshold, seen.label, 255)
        np.testing.assert_array_equal(dataset.mask(name), wanted)
        kept += np.bincount(wanted.ravel(), minlength=256)[: len(kept)]
        total += np.bincount(seen.label.ravel(), minlength=len(kept))
    assert 0.3 < kept.sum() / total.sum() < 0.7
    rows = {line.split()[1]: line.split()[-1] for line in out.splitlines() if line[:1].isdigit() and "%" in line}
    for name, part, whole in zip(dataset.classes, kept, total, strict=True):
        assert rows[name] == (f"{100 * part / whole:.1f}%" if whole else "-")
    assert "job=check experiment=your_data dataset.images=in dataset.masks=out/masks" in out


def test_polygons_of_coco_cover_the_masks(label, finished, pictures, tmp_path):
    code, _, err = label(f"job.threshold={middle(finished, pictures)}", "format=coco")
    assert code == 0, err
    content = json.loads((tmp_path / "out/annotations.json").read_text())
    assert [one["name"] for one in content["categories"]] == list(finished.dataset.classes)
    assert [one["file_name"] for one in content["images"]] == ["a.png", "day/b.png"]
    for image, name in zip(content["images"], pictures, strict=True):
        mask = np.full((image["height"], image["width"]), 255)
        for one in content["annotations"]:
            if one["image_id"] == image["id"]:
                region = drawn(one["segmentation"][0], mask.shape)
                assert region.sum() == one["area"]
                assert (mask[region] == 255).all(), "no pixel twice"
                mask[region] = one["category_id"] - 1
        np.testing.assert_array_equal(mask, np.asarray(Image.open(tmp_path / f"out/masks/{name}.png")))
    assert label("job.existing=replace")[0] == 0
    assert not (tmp_path / "out/annotations.json").exists(), "it was of other masks"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_polygons_of_any_region(share):
    for seed in range(20):
        generator = np.random.default_rng(seed)
        region = generator.random(generator.integers(1, 20, 2)) < share
        covered = np.zeros(region.shape, np.uint8)
        for points, area in polygons_of(region):
            part = drawn([coordinate for point in points for coordinate in point], region.shape)
            assert part.sum() == area
            covered += part
        np.testing.assert_array_equal(covered, region)


def test_what_is_there_is_not_replaced_unasked(label, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/classes.yaml").write_text("mine")
    code, _, err = label()
    assert code == 2
    assert "classes.yaml was not written by an earlier job=label and is left alone" in err
    (tmp_path / "out/classes.yaml").unlink()
    assert label()[0] == 0
    code, _, err = label()
    assert code == 2
    assert "2 files to be written already exist" in err
    assert "nothing left to do" in label("job.existing=skip")[1]
    code, _, err = label("job.existing=skip", "job.threshold=0.5")
    assert code == 2
    assert "existing files were predicted with other settings (threshold)" in err
    assert label("job.existing=replace", "job.threshold=0.5")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["job.threshold=1.5"], "job.threshold should be in [0, 1], but is 1.5"),
        (["format=png"], "job.format"),
        (["input="], "job=label needs input="),
        (["input=in/clip.mp4"], "job=label takes images, but in/clip.mp4 is a video"),
        (["output=in"], "output=in is the input folder"),
        (["job.networks=c"], "job.networks should be a or b or ab"),
        (["run=/nowhere"], "no run folder /nowhere"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_options_are_told_before_anything_is_written(label, tmp_path, arguments, told):
    (tmp_path / "in/clip.mp4").write_bytes(b"")
    code, _, err = label("job.existing=refuse", *arguments)
    assert code == 2
    assert told in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "in/masks").exists()
