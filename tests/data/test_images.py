"""Pictures of all kinds of numbers and bands: order is kept, or a line says which setting is needed."""

import os
import socket
from itertools import product

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dmtc.core.errors import ConfigError, DataError
from dmtc.data import opening
from dmtc.data.images import ImageReader, read_image
from dmtc.data.opening import has_orientation, open_picture, picture_size
from dmtc.data.task import Task
from tiff_files import tiff_bytes

RNG = np.random.default_rng(0)
DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "u8", "i8")


def numbers(dtype, height=20, width=36, bands=3):
    if dtype[0] == "f":
        return (RNG.random((height, width, bands)) * 2000 - 1000).astype(dtype)
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max, (height, width, bands), dtype, endpoint=True)


def read(content, reader=read_image, **options):
    return reader.decode(content, "x.tif", **options)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_layout_of_a_tiff_gives_the_same_numbers(dtype):
    values = numbers(dtype)
    span = (float(values.astype("f8").min()), float(values.astype("f8").max()))
    expected = np.rint((values.astype("f8") - span[0]) * (255 / (span[1] - span[0]))).astype(np.uint8)
    if dtype == "u1":
        expected = values
    reader, seen = ImageReader(value_range=span), 0
    for tile, separate, compressed, big_endian in product(
        (None, (16, 16)), (False, True), (False, True), (False, True)
    ):
        predictors = (1, 2, 3) if dtype in ("f4", "f8") else (1, 2)
        for predictor in predictors if compressed else (1,):
            content = tiff_bytes(
                values, tile=tile, rows=7, separate=separate, compressed=compressed, predictor=predictor,
                big_endian=big_endian, large=predictor == 2, photometric=2,
            )  # fmt: skip
            np.testing.assert_array_equal(read(content, reader), expected, str((tile, separate, big_endian, predictor)))
            seen += 1
    assert seen >= 24


@pytest.mark.parametrize(("dtype", "levels"), [("i1", 256), ("i2", 256), ("u1", 256), ("u2", 256)])
def test_order_is_kept_with_and_without_a_sign(dtype, levels):
    limits = np.iinfo(dtype)
    values = np.linspace(limits.min, limits.max, 4096).astype(dtype).reshape(64, 64)
    shown = read(tiff_bytes(values))
    assert shown.shape == (64, 64, 3)
    flat = shown[..., 0].ravel().astype(int)
    assert (np.diff(flat) >= 0).all()
    assert len(set(flat)) == levels
    assert (flat[0], flat[-1]) == (0, 255)


@given(st.sampled_from(DTYPES), st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(0, 1 << 30))
def test_a_range_of_values_keeps_order_whatever_the_type(dtype, low, span, seed):
    values = np.random.default_rng(seed).normal(low, span, (6, 16))
    if dtype[0] != "f":
        values = np.clip(values, *(float(limit) for limit in (np.iinfo(dtype).min // 2, np.iinfo(dtype).max // 2)))
    with np.errstate(over="ignore"):
        values = values.astype(dtype)
    shown = read(tiff_bytes(values), ImageReader(value_range=(low, low + span)))[..., 0].ravel()
    order = values.ravel().argsort(kind="stable")
    if dtype == "u1":
        np.testing.assert_array_equal(shown, values.ravel())
    else:
        assert (np.diff(shown[order].astype(int)) >= 0).all()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (numbers("f4", bands=5), r"float32, 5 bands, values -\d+\.\d+ to \d+\.\d+: dataset\.value_range="),
        (numbers("f8", bands=1), r"float64, 1 band, values"),
        (numbers("u4"), r"uint32, 3 bands, values"),
        (numbers("i4", bands=2), r"int32, 2 bands, which are neither gray nor RGB: dataset\.bands="),
        (np.full((3, 4), np.nan, "f4"), r"float32, 1 band, no number"),
    ],
)
def test_what_has_no_rule_is_refused_with_its_kind_and_the_setting(values, told):
    with pytest.raises(DataError, match=rf"x\.tif: {told}") as raised:
        read(tiff_bytes(values))
    assert "\n" not in str(raised.value)


def test_bands_are_counted_from_one_and_the_first_three_are_read():
    values = numbers("u1", bands=12)
    np.testing.assert_array_equal(read(tiff_bytes(values)), values[..., :3])
    np.testing.assert_array_equal(read(tiff_bytes(values), ImageReader(bands=(12, 3, 2))), values[..., [11, 2, 1]])
    np.testing.assert_array_equal(read(tiff_bytes(values), ImageReader(bands=(4,))), values[..., [3, 3, 3]])
    with pytest.raises(DataError, match=r"x\.tif: there is no band 13 in it, only 12, but dataset\.bands is \[13\]"):
        read(tiff_bytes(values), ImageReader(bands=(13,)))
    _, png = cv2.imencode(".png", values[..., 2::-1])
    np.testing.assert_array_equal(read(png.tobytes(), ImageReader(bands=(3, 2, 1))), values[..., 2::-1])


def test_gray_with_transparency_has_one_band_and_rgb_with_a_fourth_has_three():
    two, four = numbers("u1", bands=2), numbers("u1", bands=4)
    np.testing.assert_array_equal(read(tiff_bytes(two, extra=2)), two[..., [0, 0, 0]])
    np.testing.assert_array_equal(read(tiff_bytes(four, extra=2, photometric=2)), four[..., :3])
    np.testing.assert_array_equal(read(tiff_bytes(four, extra=0, photometric=2)), four[..., :3])


def test_white_may_be_zero():
    values = numbers("u1", bands=1)
    np.testing.assert_array_equal(read(tiff_bytes(values, photometric=0))[..., :1], 255 - values)


def test_16_bits_keep_their_upper_ones_unless_a_range_is_given(tmp_path):
    values = numbers("u2")
    np.testing.assert_array_equal(read(tiff_bytes(values)), values >> 8)
    cv2.imwrite(str(path := tmp_path / "x.png"), values[..., ::-1])
    np.testing.assert_array_equal(read_image(path), values >> 8)
    scaled = np.rint(np.clip(values / 4095 * 255, 0, 255)).astype(np.uint8)
    np.testing.assert_array_equal(ImageReader(value_range=(0, 4095))(path), scaled)
    np.testing.assert_array_equal(read(tiff_bytes(values), ImageReader(value_range=(0, 4095))), scaled)


def test_no_number_is_black():
    values = np.array([[np.nan, -np.inf, 0, 5, 10, np.inf]], "f4")
    assert read(tiff_bytes(values), ImageReader(value_range=(0, 10)))[0, :, 0].tolist() == [0, 0, 0, 128, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_where_pictures_are(orientation, tmp_path):
    values = numbers("u1")
    (path := tmp_path / "x.tif").write_bytes(tiff_bytes(values, photometric=2, orientation=orientation))
    np.testing.assert_array_equal(read_image(path), values)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(values).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read_image(path, upright=True), read_image(tmp_path / "x.png", upright=True))
    assert has_orientation(path) == (orientation != 1)


@pytest.mark.parametrize(
    ("bands", "value_range", "told"),
    [
        ([1, 2], None, r"dataset\.bands should be three bands, or one, counted from 1"),
        ([0, 1, 2], None, r"dataset\.bands should be three bands"),
        (None, [5, 5], r"dataset\.value_range should be"),
        (None, [0], r"dataset\.value_range should be"),
        (None, [0, float("inf")], r"dataset\.value_range should be"),
    ],
)
def test_settings_out_of_range(bands, value_range, told):
    with pytest.raises(ConfigError, match=told):
        ImageReader.of(bands, value_range)


def test_whoever_predicts_reads_as_training_did():
    reader = ImageReader((4, 3, 2), (0.0, 0.5))
    task = Task(dataset="x", classes=("a",), palette=np.zeros((1, 3), np.uint8), reader=reader)
    assert Task.from_json(task.to_json()).reader == reader
    plain = Task(dataset="x", classes=("a",), palette=np.zeros((1, 3), np.uint8))
    assert plain.to_json().keys() == {"dataset", "reduction", "classes"}, "the usual reader is not named"
    assert Task.from_json(plain.to_json()).reader == read_image


@pytest.mark.parametrize("cut", [9, 60, 400, -1])
def test_a_cut_tiff_is_told(cut):
    content = tiff_bytes(numbers("f4"), compressed=True)
    with pytest.raises(DataError, match=r"x\.tif: cannot be read as an image"):
        read(content[:cut] if cut > 0 else content[:8] + content[-200:], ImageReader(value_range=(0, 1)))


def special(kind, path):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)  # such names are short
    else:
        path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_special_files_never_block(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    special(kind, path := tmp_path / "x.png")
    with pytest.raises(DataError, match=rf"x\.png is a {kind}, not a regular file"):
        read_image(path)
    assert picture_size(path) is None
    assert not has_orientation(path)


def test_sizes_of_pictures_that_pillow_does_not_know(tmp_path):
    (path := tmp_path / "x.tif").write_bytes(tiff_bytes(numbers("f8", bands=5)))
    assert picture_size(path) == (20, 36)


def test_huge_pictures_are_opened_and_the_limit_of_others_stays(tmp_path, monkeypatch):
    Image.new("1", (2000, 900)).save(path := tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert picture_size(path) == (900, 2000)
    with path.open("rb") as file, open_picture(file) as picture:
        picture.load()
        with pytest.raises(Image.DecompressionBombError):
            Image.open(path)


def test_what_does_not_fit_into_memory_is_to_be_cut(tmp_path, monkeypatch):
    Image.new("1", (12_000, 9000)).save(path := tmp_path / "x.png")
    monkeypatch.setattr(opening, "_free_bytes", lambda: 10_000_000)
    with pytest.raises(DataError, match=r"x\.png: 12000x9000 pixels take 0\.4 GB of memory, and 0\.0 GB are free; cut"):
        read_image(path)
