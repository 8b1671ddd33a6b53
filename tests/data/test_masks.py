import numpy as np
import pytest
from PIL import Image

from dmtc.core.errors import ConfigError, DataError
from dmtc.data.masks import ColorMasks, IndexMasks, distinct_colors

INDEX = np.array([[0, 1, 2], [2, 255, 1]], np.uint8)
COLORS = [[0, 0, 0], [128, 0, 0], [0, 128, 64]]


def save(tmp_path, picture):
    path = tmp_path / "m.png"
    picture.save(path)
    return path


def test_gray_mask(tmp_path):
    mask = IndexMasks()(save(tmp_path, Image.fromarray(INDEX)))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, INDEX)


def test_palette_mask_gives_the_index_not_the_color(tmp_path):
    picture = Image.fromarray(INDEX)
    picture.putpalette([value for i in range(256) for value in ((i * 37) % 256, (i * 91) % 256, 255 - i)])
    assert picture.mode == "P"
    np.testing.assert_array_equal(IndexMasks()(save(tmp_path, picture)), INDEX)


def test_16_bit_and_1_bit_masks(tmp_path):
    np.testing.assert_array_equal(IndexMasks()(save(tmp_path, Image.fromarray(INDEX.astype(np.uint16)))), INDEX)
    bits = np.array([[True, False]])
    np.testing.assert_array_equal(IndexMasks()(save(tmp_path, Image.fromarray(bits))), [[1, 0]])


def test_16_bit_values_beyond_a_byte_are_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"m\.png: 300 \(1 pixels\) belongs to no class, as class indices lie in 0\.\.255"
    ):
        IndexMasks()(save(tmp_path, Image.fromarray(np.array([[0, 300]], np.uint16))))


def test_ignore_value_is_configurable(tmp_path):
    path = save(tmp_path, Image.fromarray(INDEX))
    np.testing.assert_array_equal(IndexMasks(ignore_value=0)(path), [[255, 1, 2], [2, 255, 1]])


def test_16_bit_void_becomes_ignored(tmp_path):
    path = save(tmp_path, Image.fromarray(np.array([[1, 65535]], np.uint16)))
    np.testing.assert_array_equal(IndexMasks(ignore_value=65535)(path), [[1, 255]])


def test_color_picture_is_no_index_mask(tmp_path):
    with pytest.raises(DataError, match=r"m\.png: .* one channel, but this file is RGB"):
        IndexMasks()(save(tmp_path, Image.new("RGB", (2, 2), (9, 0, 0))))


@pytest.mark.parametrize("content", [None, b"", b"nothing", b"\x89PNG\r\n\x1a\n123"])
@pytest.mark.parametrize("decode", [IndexMasks(), ColorMasks(COLORS)])
def test_missing_or_broken_mask_is_named(tmp_path, content, decode):
    if content is not None:
        (tmp_path / "m.png").write_bytes(content)
    with pytest.raises(DataError, match=r"m\.png: (the mask is missing|cannot be read as a mask)"):
        decode(tmp_path / "m.png")


def test_truncated_mask_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 3, (64, 64), np.uint8)
    path = save(tmp_path, Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"m\.png: cannot be read as a mask"):
        IndexMasks()(path)


def test_color_mask_by_table(tmp_path):
    table = np.array([*COLORS, [255, 255, 255]], np.uint8)
    where = np.array([[0, 1, 2], [3, 2, 0]])
    path = save(tmp_path, Image.fromarray(table[where]))
    mask = ColorMasks(COLORS, ignore_color=[255, 255, 255])(path)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, [[0, 1, 2], [255, 2, 0]])


def test_unlisted_color_is_named_with_its_count(tmp_path):
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[0, :2] = 9, 8, 7
    picture[1, 0] = 250, 0, 0
    message = r"m\.png: color \(9, 8, 7\) \(2 pixels\) is not a class; 2 colors"
    with pytest.raises(DataError, match=message):
        ColorMasks(COLORS)(save(tmp_path, Image.fromarray(picture)))


@pytest.mark.parametrize("colors", [[[0, 0]], [[0, 0, 256]], [[1, 2, 3], [1, 2, 3]]])
def test_malformed_class_table_is_refused(colors):
    with pytest.raises(ConfigError, match="mask color"):
        ColorMasks(colors)


def test_distinct_colors():
    assert distinct_colors(0).shape == (0, 3)
    assert len(np.unique(distinct_colors(60), axis=0)) == 60
