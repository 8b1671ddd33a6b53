import logging
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from dmtc.core.errors import ConfigError, DataError
from dmtc.data import DATASETS
from trees import TRAIN_IDS, save, write_cityscapes

TRAIN_LIST = Path(__file__).parents[1] / "golden" / "cityscapes_train_ids.txt"
FIRST = "aachen/aachen_000000_000019"
VAL = "frankfurt/frankfurt_000000_000019"


@pytest.fixture
def root(tmp_path):
    return write_cityscapes(tmp_path / "cityscapes")


@pytest.fixture
def build(tmp_path):
    def build(root, half=True, extra=()):
        root, cache = None if root is None else str(root), str(tmp_path / "cache")
        return DATASETS.build({"name": "cityscapes", "root": root, "half": half, "cache": cache, "extra": [*extra]})

    return build


def full_size(root, id=FIRST, part="train"):
    with Image.open(root / f"leftImg8bit/{part}/{id}_leftImg8bit.png") as image:
        return np.asarray(image)


def test_ids_come_from_the_folders(root, build):
    dataset = build(root)
    assert dataset.train == dataset.masked
    assert dataset.train == tuple(
        f"{city}/{city}_{index:06d}_000019" for city in ("aachen", "bochum") for index in (0, 1)
    )
    assert dataset.val == (VAL, "frankfurt/frankfurt_000001_000019")
    assert (dataset.num_classes, dataset.classes[18]) == (19, "bicycle")


def test_the_published_ids_in_the_published_order(tmp_path, build):
    ids = TRAIN_LIST.read_text().split()
    root = write_cityscapes(tmp_path / "all", train=0)
    for id in reversed(ids):
        path = root / f"leftImg8bit/train/{id}_leftImg8bit.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (root / "gtFine/train").mkdir()
    assert build(root).train == tuple(ids)


@pytest.mark.parametrize("half", [False, True])
def test_label_ids_become_classes(root, build, half):
    dataset = build(root, half=half)
    with Image.open(root / f"gtFine/train/{FIRST}_gtFine_labelIds.png") as file:
        ids = np.asarray(file)
    expected = np.vectorize(TRAIN_IDS.get)(ids)
    if half:
        # What the published code does.
        expected = interpolate(torch.tensor(expected[None, None]).float(), size=(32, 64), mode="nearest")[0, 0].numpy()
    np.testing.assert_array_equal(dataset.mask(FIRST), expected)
    assert dataset.sample(FIRST).image.shape == ((32, 64, 3) if half else (64, 128, 3))
    assert set(np.unique(expected)) >= {0, 2, 10, 255}


def test_table_of_label_ids(root, build):
    save(root / f"gtFine/train/{FIRST}_gtFine_labelIds.png", np.arange(64 * 128, dtype=np.uint8).reshape(64, 128))
    classes = build(root, half=False).mask(FIRST).ravel()[:256].tolist()
    assert classes[:17] == [255] * 7 + [0, 1, 255, 255, 2, 3, 4, 255, 255, 255]
    assert classes[17:] == [5, 255, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255, 255, 16, 17, 18] + [255] * 222


def test_train_ids_are_preferred_and_taken_as_they_are(tmp_path, build):
    root = write_cityscapes(tmp_path / "cityscapes", train_ids=True)
    for path in root.rglob("*_labelIds.png"):
        path.write_bytes(b"broken")
    dataset = build(root)
    assert set(np.unique(dataset.mask(FIRST))) <= set(TRAIN_IDS.values())
    assert {0, 2, 10, 255} <= set(np.unique(dataset.mask(FIRST)))


def test_half_size_equals_the_published_reduction(root, build):
    dataset = build(root)
    full = torch.tensor(full_size(root)).permute(2, 0, 1)[None].float()
    published = interpolate(full, size=(32, 64), mode="bilinear", align_corners=False)[0].permute(1, 2, 0).numpy()
    assert np.abs(dataset.image(FIRST) - published).max() <= 0.5


def test_full_size(root, build, tmp_path):
    np.testing.assert_array_equal(build(root, half=False).image(FIRST), full_size(root))
    assert not (tmp_path / "cache").exists()


def test_odd_sizes_leave_image_and_mask_together(tmp_path, build):
    sample = build(write_cityscapes(tmp_path / "odd", size=(65, 131))).sample(FIRST)
    assert sample.image.shape == (32, 65, 3)
    assert sample.label.shape == (32, 65)


def test_building_opens_no_picture_and_makes_nothing(root, build, tmp_path, caplog):
    for path in [*root.rglob("*.png")]:
        path.write_bytes(b"broken")
    with caplog.at_level(logging.INFO, logger="dmtc"):
        build(root)
    assert not (tmp_path / "cache").exists()
    assert f"half-size images are cached in {tmp_path / 'cache'}" in caplog.text


def test_each_half_size_image_is_made_once(root, build, tmp_path):
    path = build(root).images[FIRST]
    assert path.is_relative_to(tmp_path / "cache")
    assert [file.name for file in (tmp_path / "cache").rglob("*") if file.is_file()] == [f"{Path(FIRST).name}.png"]
    time = path.stat().st_mtime_ns
    save(path, np.full((32, 64, 3), 7, np.uint8))
    os.utime(path, ns=(time, time))
    assert np.all(build(root).image(FIRST) == 7)
    assert FIRST in build(root).images
    assert len(build(root).images) == 6


def test_a_half_size_image_of_an_older_file_that_has_taken_the_place_is_made_anew(root, build):
    _ = build(root).images[FIRST]
    source = root / f"leftImg8bit/train/{FIRST}_leftImg8bit.png"
    save(source, np.full((64, 128, 3), 5, np.uint8))
    os.utime(source, ns=(0, 10**18))
    assert np.all(build(root).image(FIRST) == 5)


def test_outdated_half_size_image_is_made_anew(root, build):
    path = build(root).images[FIRST]
    source = root / f"leftImg8bit/train/{FIRST}_leftImg8bit.png"
    save(source, np.full((64, 128, 3), 9, np.uint8))
    os.utime(source, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))
    assert np.all(build(root).image(FIRST) == 9)


def test_two_trees_do_not_share_half_size_images(root, build, tmp_path):
    other = write_cityscapes(tmp_path / "other", size=(32, 32))
    assert build(root).image(FIRST).shape == (32, 64, 3)
    assert build(other).image(FIRST).shape == (16, 16, 3)


def test_losing_the_race_is_harmless(root, build, monkeypatch, tmp_path):
    from dmtc.data import halved

    real = halved._halve

    def halve_while_another_finishes(source):
        monkeypatch.setattr(halved, "_halve", real)
        build(root).image(FIRST)
        return real(source)

    monkeypatch.setattr(halved, "_halve", halve_while_another_finishes)
    assert build(root).image(FIRST).shape == (32, 64, 3)
    assert len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()]) == 1


def test_cache_that_cannot_be_written(root, build, tmp_path):
    (tmp_path / "cache").write_text("a file")
    dataset = build(root)
    with pytest.raises(
        DataError, match=r"half-size copy of .*_leftImg8bit\.png cannot be written .* set dataset\.cache=DIR"
    ):
        dataset.image(FIRST)


@pytest.mark.parametrize("content", [b"", b"broken"])
def test_broken_image_is_named_by_its_source(root, build, content):
    source = root / f"leftImg8bit/train/{FIRST}_leftImg8bit.png"
    source.write_bytes(content)
    with pytest.raises(DataError, match=rf"{source}: cannot be read as an image"):
        build(root).image(FIRST)


def test_unlabelled_images_need_no_mask(root, build):
    (root / f"gtFine/train/{FIRST}_gtFine_labelIds.png").unlink()
    (root / "gtFine/train/bochum/bochum_000000_000019_gtFine_labelIds.png").write_bytes(b"broken")
    dataset = build(root)
    assert dataset.unmasked == (FIRST,)
    assert dataset.image("bochum/bochum_000000_000019").shape == (32, 64, 3)
    with pytest.raises(DataError, match="cannot be read as a mask"):
        dataset.mask("bochum/bochum_000000_000019")


def test_extra_images_are_unlabelled_and_dummy_masks_are_not_looked_at(tmp_path, build):
    root = write_cityscapes(tmp_path / "cityscapes", test=2, train_extra=1)
    dataset = build(root, extra=["test", "train_extra"])
    added = ("augsburg/augsburg_000000_000019", "berlin/berlin_000000_000019", "berlin/berlin_000001_000019")
    assert dataset.unmasked == added
    assert len(dataset.masked) == 4
    for id in added:
        assert dataset.image(id).shape == (32, 64, 3)
    assert build(root).unmasked == ()


@pytest.mark.parametrize("extra", [["val"], ["test", "test"]])
def test_other_extra_folders_are_refused(root, build, extra):
    with pytest.raises(ConfigError, match=r"dataset\.extra takes train_extra and test, each once"):
        build(root, extra=extra)


def test_id_in_two_folders_is_refused(root, build):
    shutil.copytree(root / "leftImg8bit/train/aachen", root / "leftImg8bit/test/aachen")
    with pytest.raises(DataError, match="2 ids are in two of the folders train, val, test"):
        build(root, extra=["test"])


def test_root_may_be_a_parent_and_archives_may_lie_apart(root, build, tmp_path):
    assert len(build(root.parent).train) == 4
    for piece in ("leftImg8bit", "gtFine"):
        (root / f"{piece}_trainvaltest").mkdir()
        (root / piece).rename(root / f"{piece}_trainvaltest" / piece)
    assert build(root).sample(FIRST).image.shape == (32, 64, 3)


def test_root_is_needed(build):
    with pytest.raises(DataError, match=r"cityscapes needs dataset\.root=DIR; download leftImg8bit_trainvaltest\.zip"):
        build(None)


@pytest.mark.parametrize("piece", ["leftImg8bit", "leftImg8bit/train", "leftImg8bit/val", "gtFine", "gtFine/val"])
def test_missing_piece_is_named_with_its_remedy(root, build, piece):
    (root / piece).rename(root / "elsewhere")
    remedy = (
        r"download leftImg8bit_trainvaltest\.zip and gtFine_trainvaltest\.zip from https://www\.cityscapes-dataset\.com"
    )
    with pytest.raises(DataError, match=rf"cityscapes: .*{piece}.* is missing; {remedy}"):
        build(root)


def test_missing_extra_folder_is_named_with_its_remedy(root, build):
    with pytest.raises(DataError, match=r"leftImg8bit/train_extra is missing; download leftImg8bit_trainextra\.zip"):
        build(root, extra=["train_extra"])


def test_folder_without_images_and_validation_image_without_mask(root, build):
    (root / f"gtFine/val/{VAL}_gtFine_labelIds.png").unlink()
    with pytest.raises(DataError, match=rf"1 of 2 validation images have no mask in .*gtFine/val: {VAL}; download"):
        build(root)
    shutil.rmtree(root / "leftImg8bit/val/frankfurt")
    with pytest.raises(DataError, match=r"leftImg8bit/val has no image <city>/\*_leftImg8bit\.png; download"):
        build(root)


def test_travels_to_worker_processes(root, build):
    again = pickle.loads(pickle.dumps(build(root)))
    assert again.sample(FIRST).image.shape == (32, 64, 3)
    assert again.image(VAL).shape == (32, 64, 3)
