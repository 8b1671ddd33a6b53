import numpy as np
import pytest

from dmtc.core.errors import DataError
from dmtc.data import DATASETS
from dmtc.data.ade20k import CLASSES
from trees import save

OFFICIAL = np.array([[0, 1, 2, 150]], np.uint8)
PREPARED = np.array([[255, 0, 1, 149]], np.uint8)


def build(root, official=True):
    return DATASETS.build({"name": "ade20k", "root": None if root is None else str(root), "official": official})


def write_ade20k(root, values=OFFICIAL):
    for part, prefix, count in (("training", "train", 3), ("validation", "val", 2)):
        for index in range(1, count + 1):
            id = f"ADE_{prefix}_{index:08d}"
            save(root / f"images/{part}/{id}.jpg", np.zeros((1, 4, 3), np.uint8))
            save(root / f"annotations/{part}/{id}.png", values)
    (root / "objectInfo150.txt").write_text("Idx Ratio Train Val Name\n")
    return root


@pytest.fixture
def root(tmp_path):
    return write_ade20k(tmp_path / "ADEChallengeData2016")


def test_official_layout(root):
    dataset = build(root)
    assert dataset.train == dataset.masked == tuple(f"ADE_train_{index:08d}" for index in (1, 2, 3))
    assert dataset.val == ("ADE_val_00000001", "ADE_val_00000002")
    assert (dataset.num_classes, len(set(dataset.classes))) == (150, 150)
    assert dataset.image("ADE_val_00000001").shape == (1, 4, 3)
    assert build(root.parent).train == dataset.train


def test_official_values_are_one_more_than_the_class(root):
    np.testing.assert_array_equal(build(root).mask("ADE_train_00000001"), PREPARED)
    assert [CLASSES[index] for index in (0, 2, 12, 20, 149)] == ["wall", "sky", "person", "car", "flag"]


def test_masks_of_class_indices_are_read_as_they_are(root):
    write_ade20k(root, PREPARED)
    np.testing.assert_array_equal(build(root, official=False).mask("ADE_train_00000001"), PREPARED)


@pytest.mark.parametrize(("values", "official"), [(PREPARED, True), (OFFICIAL, False)])
def test_the_wrong_kind_of_masks_is_told(root, values, official):
    write_ade20k(root, values)
    expected = r"value 255 \(1 pixels\) belongs to no class; .*dataset\.official=false" if official else "150"
    with pytest.raises(DataError, match=rf"ADE_train_00000001\.png.*{expected}"):
        build(root, official).sample("ADE_train_00000001")


def test_training_image_without_mask_is_unlabelled(root):
    (root / "annotations/training/ADE_train_00000002.png").unlink()
    assert build(root).unmasked == ("ADE_train_00000002",)


def test_validation_image_without_mask_is_named(root):
    (root / "annotations/validation/ADE_val_00000002.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 validation images have no mask in .*: ADE_val_00000002; download"):
        build(root)


def test_root_is_needed():
    with pytest.raises(DataError, match=r"ade20k needs dataset\.root=DIR; download ADEChallengeData2016\.zip"):
        build(None)


@pytest.mark.parametrize(
    "piece", [f"{kind}/{part}" for kind in ("images", "annotations") for part in ("training", "validation")]
)
def test_missing_piece_is_named_with_its_remedy(root, piece):
    (root / piece).rename(root / "elsewhere")
    with pytest.raises(DataError, match=rf"ade20k: .*{piece} is missing; download ADEChallengeData2016\.zip"):
        build(root)


def test_an_empty_folder_of_images_is_told(root):
    for path in (root / "images/training").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"ade20k: .*images/training holds no image; download"):
        build(root)
