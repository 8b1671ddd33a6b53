import pickle

import cv2
import numpy as np
import pytest
from PIL import Image

from dmtc.core.errors import DataError
from dmtc.data import Dataset
from dmtc.data.masks import IndexMasks

GRADIENT = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
LABEL = (np.arange(35).reshape(5, 7) % 3).astype(np.uint8)


def make(tmp_path, image=GRADIENT, label=LABEL, **changes):
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(label).save(tmp_path / "a_mask.png")
    fields = {
        "name": "tiny",
        "classes": ("sky", "road", "tree"),
        "palette": np.zeros((3, 3), np.uint8),
        "images": {"a": tmp_path / "a.png", "b": tmp_path / "b.png"},
        "masks": {"a": tmp_path / "a_mask.png"},
        "train": ("b",),
        "val": ("a",),
        "decode_mask": IndexMasks(),
    }
    return Dataset(**{**fields, **changes})


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": ("b",), "test": ("b",)}, "1 ids are in both the training and the test list: b"),
        ({"val": ("a",), "test": ("a",)}, "1 ids are in both the validation and the test list: a"),
        ({"train": (), "test": ("b",)}, "1 ids are used for testing but without a mask file: b"),
        ({"test": ("c",)}, "1 ids are listed but without an image file: c"),
    ],
)
def test_a_test_image_is_used_for_nothing_else_and_has_a_mask(tmp_path, lists, message):
    with pytest.raises(DataError, match=message):
        make(tmp_path, **lists)
    assert make(tmp_path).test == ()


def test_sample_reads_rgb_and_indices(tmp_path):
    sample = make(tmp_path).sample("a")
    np.testing.assert_array_equal(sample.image, GRADIENT)
    np.testing.assert_array_equal(sample.label, LABEL)
    assert sample.id == "a"
    assert sample.level is None


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (GRADIENT[..., 0], np.repeat(GRADIENT[..., :1], 3, 2)),  # gray
        (np.concatenate([GRADIENT, np.full((5, 7, 1), 9, np.uint8)], 2), GRADIENT),  # with transparency
    ],
)
def test_unusual_images_become_rgb(tmp_path, stored, expected):
    np.testing.assert_array_equal(make(tmp_path, image=stored).image("a"), expected)


def test_16_bit_image_becomes_8_bit(tmp_path):
    dataset = make(tmp_path)
    cv2.imwrite(str(tmp_path / "a.png"), GRADIENT[..., ::-1].astype(np.uint16) * 256)
    np.testing.assert_array_equal(dataset.image("a"), GRADIENT)


def test_orientation_tag_is_not_followed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GRADIENT).save(tmp_path / "turned.jpg", exif=exif)
    dataset = make(tmp_path, images={"a": tmp_path / "turned.jpg", "b": tmp_path / "turned.jpg"})
    assert dataset.image("a").shape == (5, 7, 3)


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_unreadable_image_is_named(tmp_path, content):
    dataset = make(tmp_path)
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: cannot be read as an image"):
        dataset.image("a")


def test_missing_image_is_named(tmp_path):
    with pytest.raises(DataError, match=r"b\.png: cannot be read"):
        make(tmp_path).image("b")


def test_unknown_value_is_named_with_file_and_range(tmp_path):
    label = LABEL.copy()
    label[0, :2] = 7, 255
    with pytest.raises(DataError, match=r"a_mask\.png: 1 pixels have the unknown class 7; known are 0\.\.2, and 255"):
        make(tmp_path, label=label).mask("a")


def test_ignored_pixels_are_fine(tmp_path):
    assert make(tmp_path, label=np.full_like(LABEL, 255)).mask("a").min() == 255


def test_size_mismatch_names_both_files(tmp_path):
    with pytest.raises(DataError, match=r"a\.png is 7x5 pixels but its mask .*a_mask\.png is 7x4"):
        make(tmp_path, label=LABEL[:4]).sample("a")


def test_unknown_id_and_id_without_mask(tmp_path):
    dataset = make(tmp_path)
    with pytest.raises(DataError, match="no image for the id 'x'"):
        dataset.image("x")
    with pytest.raises(DataError, match="no mask for the id 'b'"):
        dataset.mask("b")
    assert dataset.masked == ()
    assert dataset.unmasked == ("b",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": ("a", "b")}, "1 ids are in both the training and the validation list: a"),
        ({"train": ("b", "c")}, "listed but without an image file: c"),
        ({"val": ("b",), "train": ("a",)}, "used for validation but without a mask file: b"),
        ({"classes": (), "palette": np.zeros((0, 3), np.uint8)}, "0 classes"),
    ],
)
def test_inconsistent_lists_are_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        make(tmp_path, **changes)


def test_travels_to_worker_processes(tmp_path):
    again = pickle.loads(pickle.dumps(make(tmp_path)))
    np.testing.assert_array_equal(again.mask("a"), LABEL)
