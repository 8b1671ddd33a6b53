import numpy as np
import pytest

from dmtc.core.errors import ConfigError, DataError
from dmtc.data import DATASETS
from dmtc.data.coco import CLASSES
from trees import save

IDS = {"train2017": ["000000000009", "000000000025", "000000000030"], "val2017": ["000000000139"]}
# A person, a stop sign (category 13), a toothbrush (90), the first and the last stuff, and nothing labelled.
PIXEL_MAP = np.array([[0, 12, 89, 91, 181, 255]], np.uint8)
LABEL = np.array([[1, 12, 80, 0, 0, 0]], np.uint8)


def build(root, masks="stuffthingmaps", extra=()):
    root = None if root is None else str(root)
    return DATASETS.build({"name": "coco", "root": root, "masks": masks, "extra": list(extra)})


@pytest.fixture
def root(tmp_path):
    for part, ids in IDS.items():
        for id in ids:
            save(tmp_path / f"{part}/{id}.jpg", np.zeros((1, 6, 3), np.uint8))
            save(tmp_path / f"stuffthingmaps/{part}/{id}.png", PIXEL_MAP)
            save(tmp_path / f"masks/{id}.png", LABEL)
    return tmp_path


@pytest.mark.parametrize("masks", ["stuffthingmaps", "masks"])
def test_both_kinds_of_masks_read_alike(root, masks):
    dataset = build(root, masks)
    assert dataset.train == dataset.masked == tuple(IDS["train2017"])
    assert dataset.val == tuple(IDS["val2017"])
    np.testing.assert_array_equal(dataset.mask("000000000009"), LABEL)
    np.testing.assert_array_equal(dataset.mask("000000000139"), LABEL)


def test_classes():
    assert len(set(CLASSES)) == len(CLASSES) == 81
    named = {0: "background", 1: "person", 12: "stop sign", 61: "dining table", 80: "toothbrush"}
    assert {index: CLASSES[index] for index in named} == named


def test_every_object_has_its_own_class(root):
    """Category ids have gaps; a pixel map holds the id less one, the table of classes counts without gaps."""
    gaps = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
    values = [id - 1 for id in range(1, 91) if id not in gaps]
    save(root / "stuffthingmaps/train2017/000000000009.png", np.array([values], np.uint8))
    assert build(root).mask("000000000009").tolist() == [list(range(1, 81))]


@pytest.mark.parametrize("value", [11, 90, 182])
def test_a_value_that_no_pixel_map_holds_is_told(root, value):
    save(root / "stuffthingmaps/train2017/000000000009.png", np.array([[value, value]], np.uint8))
    with pytest.raises(
        DataError, match=rf"000000000009\.png: value {value} \(2 pixels\) belongs to no class; pixel maps"
    ):
        build(root).mask("000000000009")


def test_ignored_pixels_of_class_indices_stay_ignored(root):
    save(root / "masks/000000000009.png", np.array([[255, 80]], np.uint8))
    np.testing.assert_array_equal(build(root, "masks").mask("000000000009"), [[255, 80]])


def test_unlabelled_images(root):
    (root / "stuffthingmaps/train2017/000000000025.png").unlink()
    save(root / "unlabeled2017/000000000001.jpg", np.zeros((1, 6, 3), np.uint8))
    assert build(root).unmasked == ("000000000025",)
    assert build(root, extra=["unlabeled2017"]).unmasked == ("000000000001", "000000000025")
    for wrong in (["test2017"], ["unlabeled2017"] * 2):
        with pytest.raises(ConfigError, match=r"dataset\.extra takes unlabeled2017, once"):
            build(root, extra=wrong)
    save(root / "unlabeled2017/000000000139.jpg", np.zeros((1, 6, 3), np.uint8))
    with pytest.raises(DataError, match="coco: 1 ids are in two of the folders train2017, val2017, unlabeled2017"):
        build(root, extra=["unlabeled2017"])


def test_images_may_be_in_a_folder_of_their_own(root):
    for part in IDS:
        (root / "images").mkdir(exist_ok=True)
        (root / part).rename(root / "images" / part)
    assert build(root).train == tuple(IDS["train2017"])


def test_validation_image_without_mask_is_named(root):
    (root / "stuffthingmaps/val2017/000000000139.png").unlink()
    with pytest.raises(DataError, match=r"1 of 1 validation images have no mask in .*: 000000000139; download"):
        build(root)


def test_root_is_needed():
    with pytest.raises(DataError, match=r"coco needs dataset\.root=DIR; download http.*/train2017\.zip"):
        build(None)


@pytest.mark.parametrize(
    ("piece", "remedy"),
    [
        ("train2017", "http.*/train2017.zip"),
        ("val2017", "http.*/val2017.zip"),
        ("stuffthingmaps", "stuffthingmaps_trainval2017.zip.*dataset.masks=masks"),
    ],
)
def test_missing_piece_is_named_with_its_remedy(root, piece, remedy):
    (root / piece).rename(root / "elsewhere")
    with pytest.raises(DataError, match=rf"coco: .*{piece} is missing; download {remedy}"):
        build(root)


def test_an_empty_folder_of_images_is_told(root):
    for path in (root / "val2017").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"coco: .*val2017 holds no image; download"):
        build(root)
