"""Files of kinds that are not read are counted and named; copies and notes beside pictures are not."""

import os

import numpy as np
import pytest
from PIL import Image

from dmtc.core.errors import DataError
from dmtc.data import DATASETS
from trees import FOLDER_ARGUMENTS, save


@pytest.fixture
def root(tmp_path):
    for index in range(4):
        save(tmp_path / f"images/{index}.png", np.full((8, 8, 3), index, np.uint8))
        save(tmp_path / f"masks/{index}.png", np.eye(8, dtype=np.uint8))
    return tmp_path


def build(root, **changes):
    return DATASETS.build({**FOLDER_ARGUMENTS, "root": str(root), **changes})


KINDS = [".json", ".txt", ".mat", ".nii.gz", ".dcm", ".jp2", ".avif", ".heic", ".svs"]


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_they_are_counted_by_folder_and_named(root, caplog, folder):
    for number, kind in enumerate(KINDS):
        (root / folder / f"{number % 2}{kind}").write_bytes(b"x")
    build(root)
    told = ", ".join(sorted(KINDS))
    assert f"{len(KINDS)} files in {root / folder} are of kinds that are not read ({told}); save them" in caplog.text


def test_an_array_is_a_mask_and_no_image(root, caplog):
    np.save(root / "images/9.npy", np.zeros((8, 8)))
    os.remove(root / "masks/3.png")
    np.save(root / "masks/3.npy", np.eye(8) * 1.0)
    np.testing.assert_array_equal(build(root).mask("3"), np.eye(8))
    assert f"1 file in {root / 'images'} is of a kind that is not read (.npy)" in caplog.text
    assert str(root / "masks") not in caplog.text


def test_what_was_never_meant_for_a_picture_is_passed_over(root, caplog):
    for name in ("Thumbs.db", ".DS_Store", "README.md", "a.tif.aux.xml", "a.tfw", "classes.txt", "labels.txt", ".x.gz"):
        (root / "masks" / name).write_text("a\nb\n")
    build(root, classes=["a", "b"])
    assert "not read" not in caplog.text


def test_previews_beside_pictures_are_no_second_image(root, caplog):
    Image.new("RGB", (8, 8)).save(root / "images/0.gif")
    Image.new("L", (8, 8)).save(root / "masks/1.pgm")
    np.save(root / "masks/0.npy", np.zeros((8, 8)))
    dataset = build(root)
    assert dataset.images["0"].suffix == dataset.masks["0"].suffix == dataset.masks["1"].suffix == ".png"
    assert f"2 files in {root / 'masks'} are of kinds that are not read (.npy, .pgm)" in caplog.text
    assert f"1 file in {root / 'images'} is of a kind" in caplog.text


def test_pictures_and_masks_of_further_kinds_are_read(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    for number, suffix in enumerate((".gif", ".jfif", ".ppm", ".png")):
        (tmp_path / "images").mkdir(exist_ok=True)
        kind = {".gif": "GIF", ".jfif": "JPEG", ".ppm": "PPM", ".png": "PNG"}[suffix]
        gray = np.repeat(picture[..., :1], 3, axis=2)
        Image.fromarray(gray if suffix != ".ppm" else picture).save(tmp_path / f"images/{number}{suffix}", kind)
        mask = np.eye(8, dtype=np.uint8) * 255
        save(tmp_path / f"masks/{number}.{'gif' if number % 2 else 'png'}", mask)
    dataset = build(tmp_path)
    assert dataset.found["mask_kind"] == "binary"
    for number in range(4):
        np.testing.assert_array_equal(dataset.mask(str(number)), np.eye(8))
    np.testing.assert_array_equal(dataset.image("2"), picture)
    for exact in ("0", "3"):
        np.testing.assert_array_equal(dataset.image(exact), gray)
    assert np.abs(dataset.image("1").astype(int) - gray).max() < 90


@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_folder_of_nothing_else_says_so(root, part):
    for path in (root / part).iterdir():
        path.rename(path.with_suffix(".dcm"))
    with pytest.raises(DataError, match=rf"4 files in .*{part} are of kinds that are not read \(\.dcm\)") as raised:
        build(root)
    assert "\n" not in str(raised.value)
    with pytest.raises(DataError, match=r"are of kinds that are not read \(\.dcm\)"):
        DATASETS.build({**FOLDER_ARGUMENTS, "images": str(root / "images"), "masks": str(root / "masks")})


def test_unlabelled_folders_are_looked_at(root, caplog):
    save(root / "more/7.png", np.zeros((8, 8, 3), np.uint8))
    (root / "more/8.heic").write_bytes(b"x")
    build(root, unlabelled=str(root / "more"))
    assert f"1 file in {root / 'more'} is of a kind that is not read (.heic)" in caplog.text


@pytest.mark.parametrize("part", ["images", "masks"])
def test_pipes_and_devices_among_them_are_refused(root, part):
    os.mkfifo(root / part / "f.png")
    with pytest.raises(DataError, match=r"f\.png is a pipe, not a regular file; remove it from the data set"):
        build(root)
    os.remove(root / part / "f.png")
    (root / part / "f.png").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"f\.png is a device, not a regular file"):
        build(root)
