"""Masks of each kind, in each file type and bit depth, are recognized, said so, and read as what was drawn."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dmtc.core.errors import DataError
from dmtc.data import DATASETS
from trees import FOLDER_ARGUMENTS, save

SIZE = (32, 48)
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 0, 0, 128]
COLORS = np.array(PALETTE, np.uint8).reshape(-1, 3)
DRAWN = [
    np.kron(np.random.default_rng(seed).integers(0, 4, (4, 6)), np.ones((8, 8))).astype(np.uint8) for seed in (1, 2, 3)
]
"""Three masks of four classes, in blocks of 8x8 pixels."""


def bits_png(path: Path, values: np.ndarray, bits: int) -> None:
    """A gray PNG of 1, 2, 4, 8 or 16 bits, which Pillow cannot all write."""
    height, width = values.shape
    if bits == 16:
        rows = [row.astype(">u2").tobytes() for row in values]
    else:
        each = 8 // bits
        shifts = np.arange(each)[::-1] * bits
        packed = (values.reshape(height, width // each, each).astype(np.uint8) << shifts.astype(np.uint8)).sum(2)
        rows = [row.astype(np.uint8).tobytes() for row in packed]

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", content) + chunk(b"IEND", b""))


def write(root: Path, masks: list, suffix: str = ".png", **options) -> None:
    """One image with mask for each mask: an array, a picture, or a function that writes the file."""
    for index, mask in enumerate(masks):
        save(root / f"images/{index}.png", np.full((*SIZE, 3), index, np.uint8))
        path = root / f"masks/{index}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(mask):
            mask(path)
        else:
            (Image.fromarray(mask) if isinstance(mask, np.ndarray) else mask).save(path, **options)


def read(root: Path, **changes):
    return DATASETS.build({**FOLDER_ARGUMENTS, "root": str(root), **changes})


def assert_reads(root: Path, kind: str, drawn: list, **changes):
    """The kind is said, the masks are read as drawn, and so are they by the arguments that were found, unseen."""
    dataset = read(root, **changes)
    assert dataset.found["mask_kind"] == kind
    assert dataset.notes[0].startswith(f"masks: {kind}, as ")
    again = read(root, **changes, **{key: value for key, value in dataset.found.items() if key not in changes})
    assert again.classes == dataset.classes
    assert again.found == dataset.found
    for index, mask in enumerate(drawn):
        np.testing.assert_array_equal(dataset.mask(str(index)), mask)
        np.testing.assert_array_equal(again.mask(str(index)), mask)
    return dataset


def palette_picture(mask: np.ndarray, palette: list[int] = PALETTE) -> Image.Image:
    picture = Image.fromarray(mask)
    picture.putpalette(palette)
    return picture


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".png", {}), (".bmp", {}), (".tif", {}), (".tiff", {"compression": "tiff_lzw"}), (".webp", {"lossless": True})],
)
def test_index_masks_of_each_file_type(tmp_path, suffix, options):
    write(tmp_path, DRAWN, suffix, **options)
    dataset = assert_reads(tmp_path, "index", DRAWN)
    assert dataset.classes == ("class 0", "class 1", "class 2", "class 3")
    assert "with the values 0..3" in dataset.notes[0]


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_index_masks_of_each_bit_depth(tmp_path, bits):
    write(tmp_path, [lambda path, mask=mask: bits_png(path, mask, bits) for mask in DRAWN])
    assert_reads(tmp_path, "index", DRAWN)


def test_index_masks_of_one_bit(tmp_path):
    drawn = [mask % 2 for mask in DRAWN]
    write(tmp_path, [lambda path, mask=mask: bits_png(path, mask, 1) for mask in drawn])
    assert assert_reads(tmp_path, "index", drawn).num_classes == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_index_masks_in_tiff_of_each_type(tmp_path, dtype):
    write(tmp_path, [mask.astype(dtype) for mask in DRAWN], ".tif")
    assert_reads(tmp_path, "index", DRAWN)


def test_index_masks_saved_with_three_channels(tmp_path):
    write(tmp_path, [np.dstack([mask] * 3) for mask in DRAWN])
    assert_reads(tmp_path, "index", DRAWN)
    opaque = [np.dstack([*[mask] * 3, np.full(SIZE, 255, np.uint8)]) for mask in DRAWN]
    write(tmp_path, opaque)
    assert_reads(tmp_path, "index", DRAWN)


def test_ignored_pixels_and_a_further_value(tmp_path):
    drawn = [mask.copy() for mask in DRAWN]
    for mask in drawn:
        mask[:4] = 255
    write(tmp_path, drawn)
    dataset = assert_reads(tmp_path, "index", drawn)
    assert dataset.num_classes == 4
    assert "and 255 for ignored pixels" in dataset.notes[0]
    wanted = [np.where(mask == 3, 255, mask) for mask in drawn]
    assert assert_reads(tmp_path, "index", wanted, ignore_value=3).num_classes == 3


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_palette_masks(tmp_path, suffix, bits):
    drawn = [mask % 2 if bits == 1 else mask for mask in DRAWN]
    options = {"bits": bits} if suffix == ".png" else {}
    write(tmp_path, [palette_picture(mask) for mask in drawn], suffix, **options)
    dataset = assert_reads(tmp_path, "palette", drawn)
    np.testing.assert_array_equal(dataset.palette, COLORS[: 2 if bits == 1 else 4])


def test_palettes_that_disagree_are_read_by_color(tmp_path):
    """As by tools that make a palette for each file: index 1 here is index 2 there."""
    turned = [0, 0, 0, 0, 0, 128, 128, 0, 0, 0, 128, 0]
    back = np.array([0, 2, 3, 1], np.uint8)  # the index of each color under the turned palette
    write(tmp_path, [palette_picture(DRAWN[0]), palette_picture(back[DRAWN[1]], turned)])
    by_code = {int(r) << 16 | int(g) << 8 | int(b): index for index, (r, g, b) in enumerate(COLORS)}
    order = np.array([sorted(by_code).index(code) for code in by_code], np.uint8)
    assert_reads(tmp_path, "rgb", [order[DRAWN[0]], order[DRAWN[1]]])


def test_palette_masks_with_a_table_of_colors(tmp_path):
    """The colors of classes.yaml decide where the palette has them in another order."""
    write(tmp_path, [palette_picture(mask) for mask in DRAWN])
    assert_reads(tmp_path, "palette", DRAWN, colors=COLORS.tolist())
    turned = COLORS[::-1].tolist()
    assert_reads(tmp_path, "rgb", [3 - mask for mask in DRAWN], colors=turned)
    other = [[9, 9, 9], [8, 8, 8], [7, 7, 7], [6, 6, 6]]
    assert assert_reads(tmp_path, "palette", DRAWN, colors=other).palette.tolist() == other


@pytest.mark.parametrize(
    ("suffix", "options"), [(".png", {}), (".bmp", {}), (".tif", {}), (".webp", {"lossless": True, "exact": True})]
)
def test_rgb_masks_of_each_file_type(tmp_path, suffix, options):
    write(tmp_path, [COLORS[mask] for mask in DRAWN], suffix, **options)
    codes = [int(r) << 16 | int(g) << 8 | int(b) for r, g, b in COLORS]
    order = np.argsort(np.argsort(codes)).astype(np.uint8)
    dataset = assert_reads(tmp_path, "rgb", [order[mask] for mask in DRAWN])
    assert dataset.classes == ("#000000", "#000080", "#008000", "#800000")
    assert dataset.palette[3].tolist() == [128, 0, 0]
    assert "4 colors, each a class" in dataset.notes[0]


def test_rgb_masks_of_16_bits(tmp_path):
    def deep(path: Path, mask: np.ndarray) -> None:
        assert cv2.imwrite(str(path), COLORS[mask][..., ::-1].astype(np.uint16) * 257)

    write(tmp_path, [lambda path, mask=mask: deep(path, mask) for mask in DRAWN])
    assert_reads(tmp_path, "rgb", DRAWN, colors=COLORS.tolist())


def test_rgb_masks_with_transparency_named_classes_and_an_ignored_color(tmp_path):
    drawn = [mask.copy() for mask in DRAWN]
    pictures = []
    for mask in drawn:
        mask[:8] = 255
        rgb = np.full((*SIZE, 4), 128, np.uint8)
        rgb[..., :3] = np.where((mask == 255)[..., None], [224, 224, 192], COLORS[mask % 4])
        pictures.append(rgb)
    write(tmp_path, pictures)
    arguments = {"colors": COLORS.tolist(), "ignore_color": [224, 224, 192], "classes": ["a", "b", "c", "d"]}
    assert_reads(tmp_path, "rgb", drawn, **arguments)


def test_most_rgb_masks_may_show_nothing_but_a_gray_background(tmp_path):
    empty = np.zeros(SIZE, np.uint8)
    write(tmp_path, [*(np.dstack([empty] * 3) for _ in range(5)), COLORS[DRAWN[0] % 2]])
    dataset = assert_reads(tmp_path, "rgb", [*[empty] * 5, DRAWN[0] % 2])
    assert "as all 6 masks show" in dataset.notes[0]


@pytest.mark.parametrize(
    ("suffix", "dtype", "largest"),
    [(".png", np.uint8, 255), (".png", np.uint16, 65535), (".bmp", np.uint8, 255), (".tif", np.uint16, 65535)],
)
def test_binary_masks(tmp_path, suffix, dtype, largest):
    drawn = [(mask > 1).astype(np.uint8) for mask in DRAWN]
    write(tmp_path, [mask.astype(dtype) * dtype(largest) for mask in drawn], suffix)
    dataset = assert_reads(tmp_path, "binary", drawn)
    assert dataset.classes == ("background", "foreground")
    assert f"{largest} is foreground" in dataset.notes[0]
    assert assert_reads(tmp_path, "binary", drawn, classes=["sound", "defect"]).classes == ("sound", "defect")
    assert read(tmp_path, classes=["polyp"]).classes == ("background", "polyp")


def test_binary_masks_with_three_channels_and_lossless_webp(tmp_path):
    drawn = [(mask > 1).astype(np.uint8) for mask in DRAWN]
    write(tmp_path / "rgb", [np.dstack([mask * 255] * 3) for mask in drawn])
    assert_reads(tmp_path / "rgb", "binary", drawn)
    write(tmp_path / "webp", [mask * 255 for mask in drawn], ".webp", lossless=True)
    assert_reads(tmp_path / "webp", "binary", drawn)


@pytest.mark.parametrize(("suffix", "options"), [(".jpg", {"quality": 85}), (".webp", {"quality": 85})])
def test_masks_of_one_class_saved_as_jpeg(tmp_path, suffix, options):
    drawn = [(mask > 1).astype(np.uint8) for mask in DRAWN]
    write(tmp_path, [mask * 255 for mask in drawn], suffix, **options)
    assert_reads(tmp_path, "threshold", drawn)


def test_masks_of_one_class_with_smoothed_edges(tmp_path):
    drawn = (np.indices((400, 400)).sum(0) > 400).astype(np.uint8)
    smooth = cv2.resize(drawn * 255, None, fx=5, fy=5, interpolation=cv2.INTER_LINEAR)
    assert len(np.unique(smooth)) > 2
    write(tmp_path, [smooth, smooth])
    assert_reads(tmp_path, "threshold", [(smooth > 127).astype(np.uint8)] * 2)


def test_zero_and_255_are_background_and_ignored_where_that_is_said(tmp_path):
    drawn = [np.where(mask > 1, 255, 0).astype(np.uint8) for mask in DRAWN]
    write(tmp_path, drawn)
    assert_reads(tmp_path, "index", drawn, classes=["ground", "car", "tree"])
    assert_reads(tmp_path, "index", drawn, classes=["ground", "car"], mask_kind="index")
    with pytest.raises(DataError, match="fewer than two classes"):
        read(tmp_path, ignore_value=255)


def test_gray_levels_are_classes(tmp_path):
    levels = np.array([0, 60, 120, 200], np.uint8)
    write(tmp_path, [levels[mask] for mask in DRAWN])
    dataset = assert_reads(tmp_path, "values", DRAWN)
    assert dataset.classes == ("value 0", "value 60", "value 120", "value 200")
    assert_reads(tmp_path, "values", DRAWN, classes=["a", "b", "c", "d"])
    reordered = [np.array([3, 2, 1, 0], np.uint8)[mask] for mask in DRAWN]
    assert_reads(tmp_path, "values", reordered, values=[200, 120, 60, 0])


def test_gray_levels_up_to_255_are_asked_about(tmp_path):
    levels = np.array([0, 85, 170, 255], np.uint8)
    write(tmp_path, [levels[mask] for mask in DRAWN])
    with pytest.raises(DataError, match="255 may be a class or mean ignored: give each class its value"):
        read(tmp_path)
    assert_reads(tmp_path, "values", DRAWN, classes=["a", "b", "c", "d"])
    assert read(tmp_path, ignore_value=255).num_classes == 3


def test_zero_as_the_ignored_value(tmp_path):
    write(tmp_path, DRAWN)
    wanted = [np.where(mask == 0, 255, mask - 1).astype(np.uint8) for mask in DRAWN]
    assert read(tmp_path, ignore_value=0).classes == ("value 1", "value 2", "value 3")
    assert_reads(tmp_path, "values", wanted, ignore_value=0)
    assert_reads(tmp_path, "values", wanted, ignore_value=0, classes=["a", "b", "c"])
    with pytest.raises(DataError, match="names 5 classes"):
        read(tmp_path, ignore_value=0, classes=["a", "b", "c", "d", "e"])


def test_indices_with_gaps_stay_indices(tmp_path):
    gaps = np.array([0, 1, 2, 4], np.uint8)
    drawn = [gaps[mask] for mask in DRAWN]
    write(tmp_path, drawn)
    assert assert_reads(tmp_path, "index", drawn).num_classes == 5


def test_a_mask_that_is_otherwise_is_counted_and_told_when_it_is_read(tmp_path):
    write(tmp_path, [*DRAWN, COLORS[DRAWN[0]]])
    dataset = read(tmp_path)
    assert "as 3 of 4 masks show" in dataset.notes[0]
    assert "1 differ or are unreadable" in dataset.notes[0]
    with pytest.raises(DataError, match=r"3\.png: .* has one channel, but this file is RGB"):
        dataset.mask("3")


@pytest.mark.parametrize(
    ("masks", "suffix", "changes", "message"),
    [
        ([mask * 60 for mask in DRAWN], ".jpg", {}, "saved as JPEG or lossy WebP have lost their class values"),
        (
            [np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)] * 2,
            ".png",
            {},
            "hold 1000 or more colors, which cannot all be classes",
        ),
        (
            [COLORS[mask] for mask in DRAWN],
            ".png",
            {"classes": ["a", "b"]},
            "names 2 classes but no colors, and the masks hold colors",
        ),
        (
            [COLORS[mask] for mask in DRAWN],
            ".png",
            {"mask_kind": "index"},
            "mask_kind=index is for masks of one channel",
        ),
        (DRAWN, ".png", {"mask_kind": "binary", "classes": ["a", "b", "c"]}, "is for two classes, but"),
        ([np.full(SIZE, 7, np.uint16) * 100] * 2, ".png", {}, "beyond 255"),
        (DRAWN, ".png", {"mask_kind": "values", "values": [0, 1], "classes": ["a"]}, "lists 2 values for 1 classes"),
        ([b"", b""], ".png", {}, "no mask can be read"),
    ],
)
def test_masks_that_cannot_be_made_out(tmp_path, masks, suffix, changes, message):
    write(
        tmp_path, [(lambda path: path.write_bytes(b"")) if isinstance(mask, bytes) else mask for mask in masks], suffix
    )
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, **changes)
    assert "\n" not in str(caught.value)


def test_values_that_no_class_has_are_counted(tmp_path):
    write(tmp_path, DRAWN)
    dataset = read(tmp_path, mask_kind="values", values=[0, 1, 2], classes=["a", "b", "c"])
    with pytest.raises(
        DataError, match=r"3 \(576 pixels\) belongs to no class, as classes have 0, 1, 2; dataset\.ignore_value=3"
    ) as caught:
        dataset.mask("0")
    assert caught.value.counts == {"value 3": int((DRAWN[0] == 3).sum())}


def test_masks_of_0_and_1_among_masks_of_0_and_255_are_refused(tmp_path):
    """As by two tools, or where some are of one bit: 255 would be ignored in silence, and it is the class."""
    drawn = DRAWN[0] % 2
    for other in (drawn, drawn.astype(bool), palette_picture(drawn, [0, 0, 0, 255, 255, 255])):
        write(tmp_path, [drawn * 255, other, other])
        for names in (None, ["a", "b"]):
            with pytest.raises(DataError, match="1 masks hold only 0 and 255, and others 0 and 1: 255 may be"):
                read(tmp_path, classes=names)
    ignoring = np.where(drawn == 1, 255, 0).astype(np.uint8)
    assert_reads(tmp_path, "index", [ignoring, drawn], ignore_value=255)
    drawn = drawn.copy()
    drawn[:2] = 255
    write(tmp_path, [drawn, DRAWN[0] % 2 * 255])
    assert_reads(tmp_path, "index", [drawn, DRAWN[0] % 2 * 255])
