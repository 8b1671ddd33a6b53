import inspect
import logging

import numpy as np
import pytest
from PIL import Image

from dmtc.core.errors import ConfigError, DataError, UserError
from dmtc.data import DATASETS
from trees import FOLDER_ARGUMENTS

DEFAULTS = FOLDER_ARGUMENTS


def build(root=None, **changes):
    return DATASETS.build({**DEFAULTS, "root": None if root is None else str(root), **changes})


def put(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def fill(root, masked=10, unmasked=3, prefix="", mask_folder="masks", suffix=".png"):
    rng = np.random.default_rng(0)
    for index in range(masked + unmasked):
        put(root / f"images/{prefix}{index:02d}{suffix}", rng.integers(0, 256, (6, 8, 3), np.uint8))
        if index < masked:
            put(root / f"{mask_folder}/{prefix}{index:02d}.png", rng.integers(0, 3, (6, 8), np.uint8))


def test_images_without_mask_are_unlabelled(tmp_path):
    fill(tmp_path)
    dataset = build(tmp_path)
    assert len(dataset.val) == 2
    assert len(dataset.masked) == 8
    assert dataset.unmasked == ("10", "11", "12")
    assert dataset.train == tuple(sorted(dataset.train))
    assert not set(dataset.train) & set(dataset.val)
    assert dataset.classes == ("class 0", "class 1", "class 2")
    assert dataset.sample(dataset.masked[0]).label.shape == (6, 8)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".webp", ".tiff", ".bmp"])
def test_image_formats(tmp_path, suffix):
    fill(tmp_path, suffix=suffix)
    dataset = build(tmp_path)
    assert dataset.image(dataset.train[0]).shape == (6, 8, 3)


def test_nested_folders_and_labels_name(tmp_path):
    fill(tmp_path, prefix="city/day/", mask_folder="labels")
    assert "city/day/11" in build(tmp_path).unmasked


def test_folders_by_name_without_root(tmp_path):
    fill(tmp_path)
    dataset = build(images=str(tmp_path / "images"), masks=str(tmp_path / "masks"))
    assert len(dataset.train) == 11


def test_train_and_val_folders_are_the_split(tmp_path):
    fill(tmp_path, prefix="train/")
    fill(tmp_path, masked=4, unmasked=0, prefix="val/")
    dataset = build(tmp_path)
    assert dataset.val == ("val/00", "val/01", "val/02", "val/03")
    assert len(dataset.train) == 13


def test_val_list(tmp_path):
    fill(tmp_path)
    (tmp_path / "val.txt").write_text("03\n\n05 \n")
    assert build(tmp_path).val == ("03", "05")
    (tmp_path / "other.txt").write_text("01\n")
    assert build(tmp_path, val=str(tmp_path / "other.txt")).val == ("01",)


def test_val_choice_is_seeded_and_steady(tmp_path):
    fill(tmp_path, masked=30, unmasked=0)
    first = build(tmp_path)
    assert first.val == build(tmp_path).val
    assert first.val != build(tmp_path, val_seed=1).val
    assert len(build(tmp_path, val_fraction=0.001).val) == 1
    assert len(build(tmp_path, val_fraction=0.999).val) == 29
    put(tmp_path / "images/new.png", np.zeros((6, 8, 3), np.uint8))
    put(tmp_path / "masks/new.png", np.zeros((6, 8), np.uint8))
    assert len(set(first.val) - set(build(tmp_path).val)) <= 1


def test_class_names(tmp_path):
    fill(tmp_path)
    assert build(tmp_path, classes=["a", "b", "c"]).classes == ("a", "b", "c")
    (tmp_path / "classes.txt").write_text("sky\nroad\ntree\nlake\n")
    dataset = build(tmp_path)
    assert dataset.classes == ("sky", "road", "tree", "lake")
    assert dataset.palette.shape == (4, 3)


def test_no_mask_is_opened_when_classes_and_kind_are_named(tmp_path, monkeypatch):
    fill(tmp_path)
    from dmtc.data.masks import read_mask

    opened = []
    for module in ("masks", "folder.mask_survey"):
        monkeypatch.setattr(
            f"dmtc.data.{module}.read_mask", lambda *given: opened.append(given[0]) or read_mask(*given)
        )
    dataset = build(tmp_path, classes=["a", "b", "c"], mask_kind="index")
    for id in dataset.train:
        dataset.image(id)
    assert opened == []
    dataset.decode_mask(dataset.masks[dataset.train[0]])
    assert opened == [dataset.masks[dataset.train[0]]], "it would have been seen"


def test_broken_mask_is_told_only_when_needed(tmp_path):
    fill(tmp_path)
    (tmp_path / "masks/04.png").write_bytes(b"broken")
    dataset = build(tmp_path, val_seed=0)
    assert dataset.num_classes == 3
    with pytest.raises(DataError, match=r"04\.png"):
        dataset.mask("04")


def test_color_masks(tmp_path):
    table = np.array([[0, 0, 0], [128, 0, 0]], np.uint8)
    for index in range(4):
        put(tmp_path / f"images/{index}.png", np.zeros((2, 2, 3), np.uint8))
        put(tmp_path / f"masks/{index}.png", table[np.array([[0, 1], [1, 0]])])
    dataset = build(tmp_path, colors=table.tolist())
    np.testing.assert_array_equal(dataset.mask("0"), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(dataset.palette, table)
    with pytest.raises(ConfigError, match="2 colors for 3 classes"):
        build(tmp_path, colors=table.tolist(), classes=["a", "b", "c"])
    with pytest.raises(ConfigError, match="ignore_value"):
        build(tmp_path, colors=table.tolist(), ignore_value=0)


def test_ignore_value(tmp_path):
    fill(tmp_path)
    dataset = build(tmp_path, ignore_value=2)
    assert dataset.num_classes == 2
    assert set(np.unique(dataset.mask("00"))) == {0, 1, 255}


def test_masks_without_image_are_told(tmp_path, caplog):
    fill(tmp_path)
    put(tmp_path / "masks/stray.png", np.zeros((2, 2), np.uint8))
    with caplog.at_level(logging.WARNING):
        assert "stray" not in build(tmp_path).masks
    assert "1 masks" in caplog.text
    assert "stray" in caplog.text


def test_root_is_needed():
    with pytest.raises(DataError, match=r"folder needs dataset\.root=DIR"):
        build()


def test_masks_folder_is_needed_beside_images(tmp_path):
    fill(tmp_path)
    with pytest.raises(DataError, match=r"dataset\.masks=DIR"):
        build(images=str(tmp_path / "images"))


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no folder .*images; it should hold the images"):
        build(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"no folder .*masks or .*labels; it should hold the masks"):
        build(tmp_path)
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="no images there"):
        build(tmp_path)


def test_no_matching_names(tmp_path):
    put(tmp_path / "images/a.png", np.zeros((2, 2, 3), np.uint8))
    put(tmp_path / "masks/a_mask.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(DataError, match=r"no image has a mask: .* holds a and .* holds a_mask"):
        build(tmp_path)


def test_two_images_of_one_name(tmp_path):
    fill(tmp_path)
    put(tmp_path / "images/00.jpg", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(DataError, match="have the same id '00'"):
        build(tmp_path)


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_val_fraction_range(tmp_path, fraction):
    fill(tmp_path)
    with pytest.raises(ConfigError, match="val_fraction"):
        build(tmp_path, val_fraction=fraction)


def test_other_user_faults(tmp_path):
    fill(tmp_path, masked=1)
    with pytest.raises(DataError, match="only one image has a mask"):
        build(tmp_path)
    (tmp_path / "val.txt").write_text("nowhere\n")
    with pytest.raises(DataError, match=r"val\.txt, line 1: 'nowhere' is no image of this data set"):
        build(tmp_path)
    (tmp_path / "val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt: no ids in it"):
        build(tmp_path)
    (tmp_path / "val.txt").unlink()
    with pytest.raises(UserError, match="each once"):
        build(tmp_path, classes=["a", "a"])
    put(tmp_path / "masks/00.png", np.full((6, 8), 255, np.uint8))
    (tmp_path / "val.txt").write_text("00\n")
    with pytest.raises(DataError, match="fewer than two classes"):
        build(tmp_path)


def test_defaults_of_these_tests_are_complete():
    parameters = inspect.signature(DATASETS.builder("folder")).parameters.keys() - DATASETS.runtime
    assert DEFAULTS.keys() - {"name"} == parameters
