"""Torch data sets and arrays in memory, written once as a folder, trained on and found again."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

import dmtc
from dmtc.core.errors import ConfigError, DataError
from dmtc.engine.checks import settle
from dmtc.engine.components import Components

CLASSES = ["ground", "thing"]
SIDE = 32


def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """An image with a bright square, and its mask."""
    rng = np.random.default_rng(number)
    image, mask = rng.integers(0, 90, (SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    top, left = rng.integers(0, SIDE - 12, 2)
    mask[top : top + 12, left : left + 12] = 1
    image[mask == 1] += 120
    mask[0, 0] = 255
    return image, mask


class Scenes(Dataset):
    """As torchvision returns them: PIL images."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[Image.Image, Image.Image]:
        image, mask = scene(number % self.count)  # without an end, as map-style data sets may be
        return Image.fromarray(image), Image.fromarray(mask)


def arrays(count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    images, masks = zip(*map(scene, range(count)), strict=True)
    return np.stack(images), np.stack(masks)


def tensors() -> TensorDataset:
    images, masks = arrays()
    labels = torch.from_numpy(masks).long()
    return TensorDataset(
        torch.from_numpy(images).permute(0, 3, 1, 2) / 255, labels.where(labels != 255, -1).unsqueeze(1)
    )


def mappings() -> list[dict]:
    return [{"image": image, "label": mask.astype(np.float32)} for image, mask in zip(*arrays(), strict=True)]


@pytest.mark.parametrize("pairs", [Scenes(3), arrays(), tensors(), mappings(), list(zip(*arrays(), strict=True))])
def test_pairs_of_every_kind_give_the_same_images_and_masks(tmp_path, pairs):
    data = dmtc.write_pairs(tmp_path / "data", train=pairs, classes=CLASSES, ignore_value=-1)
    dataset = Components(settle(dmtc.compose([*data, "dataset.val_fraction=0.4"]))).dataset
    assert dataset.classes == tuple(CLASSES)
    for number in range(3):
        image, mask = scene(number)
        sample = dataset.sample(f"train/{number:06d}")
        np.testing.assert_array_equal(sample.image, image)
        np.testing.assert_array_equal(sample.label, mask)


def test_a_run_on_pairs_is_checked_trained_and_found_again(small, tmp_path, command):
    images, masks = arrays(4)
    given = {"train": [*zip(images, masks, strict=True), (images[0] // 2, None)], "unlabelled": images[1:3]}
    given |= {"val": Scenes(2), "test": Scenes(1), "classes": CLASSES}
    data = dmtc.write_pairs(tmp_path / "data", **given)
    code, out, err = command("job=check", *data, "job.advice=false", small_run=False)
    assert code == 0, out + err
    assert "10 images (4 labelled, 3 unlabelled, 2 validation, 1 test), 2 classes" in out
    settings = [one for one in small if "dataset." not in one or "crop" in one]
    tiny = ["model/backbone=tiny", "model.weights={a: null, b: null}"]
    run = dmtc.train([*data, *tiny, *settings, "schedule.rounds.label_ratios=[1.0]"], tmp_path / "run")
    assert run.results["split"]["unlabelled"] == 3
    assert run.results["test"]["images"] == 1
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    assert dmtc.write_pairs(tmp_path / "data", **given) == data
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")} == before
    loaded = dmtc.Run.load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.predict(images[0]), run.predict(images[0]))
    assert loaded.pseudo_labels("r1-a")[0].image.shape == (SIDE, SIDE, 3)
    assert dmtc.resume(tmp_path / "run").results["miou"] == run.results["miou"]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"train": [(scene(0)[0], np.full((SIDE, SIDE), 7))]}, "train[0]: the mask value 7 is none of 2 classes"),
        ({"train": [(scene(0)[0], np.zeros((9, 9)))]}, "train[0]: the image is 32x32 pixels but its mask is 9x9"),
        ({"train": [scene(0), (np.ones((8, 8, 3)) * 9, scene(0)[1])]}, "train[1]: an image is a file, a PIL image"),
        ({"train": [(scene(0)[0], np.zeros((SIDE, SIDE, 3)))]}, "a mask has one class index per pixel, (H, W)"),
        ({"train": [(scene(0)[0], "mask.png")]}, "a mask is a PIL image, an array or a tensor, but is a str"),
        ({"train": [scene(0)[0]]}, "train[0]: should be a pair (image, mask), but is a ndarray"),
        ({"train": (arrays()[0], arrays()[1][:2])}, "train: there are 3 images, but 2 masks"),
        ({"train": [(scene(0)[0], None)]}, "no image has a mask"),
        ({"train": arrays(), "val": [(scene(0)[0], None)]}, "val[0]: has no mask, which it is scored on"),
        ({"train": arrays(), "classes": "road"}, "classes should be names in index order"),
    ],
)
def test_what_is_no_pair_is_told_in_a_line_and_nothing_is_written(tmp_path, given, line):
    with pytest.raises((DataError, ConfigError)) as error:
        dmtc.write_pairs(tmp_path / "data", **{"classes": CLASSES, **given})
    assert line in str(error.value)
    assert not list(tmp_path.iterdir())


def test_other_pairs_and_other_files_are_left_alone(tmp_path):
    dmtc.write_pairs(tmp_path / "data", train=arrays(), classes=CLASSES)
    before = sorted((tmp_path / "data").rglob("*"))
    with pytest.raises(ConfigError, match="was written from other pairs, or other pairs come each time"):
        dmtc.write_pairs(tmp_path / "data", train=arrays(2), classes=CLASSES)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files, which are left alone"):
        dmtc.write_pairs(tmp_path / "mine", train=arrays(), classes=CLASSES)
    assert sorted((tmp_path / "data").rglob("*")) == before
    assert (tmp_path / "mine/notes.txt").read_text() == "mine"
