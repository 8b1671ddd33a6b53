"""Smoothed masks are told with the colors that they are mixtures of, and palettes of many rare classes are not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from dmtc.core.errors import DataError
from dmtc.data import DATASETS
from trees import FOLDER_ARGUMENTS, save

COLORS = np.array([[0, 0, 0], [220, 20, 60], [0, 128, 255], [10, 200, 30]], np.uint8)
LEVELS = np.array([0, 80, 160, 240], np.uint8)


def scene(seed, height=96, width=128, most=4):
    picture, rng = Image.new("L", (width, height)), np.random.default_rng(seed)
    draw = ImageDraw.Draw(picture)
    for index in range(1, most):
        left, top = (int(rng.integers(0, side - 34)) for side in (width, height))
        (draw.ellipse if seed % 2 else draw.rectangle)([left, top, left + 34, top + 34], fill=index)
    return np.asarray(picture)


def folder_of(root, masks, **changes):
    for index, mask in enumerate(masks):
        save(root / f"images/{index}.png", np.full((*mask.shape[:2], 3), index, np.uint8))
        save(root / f"masks/{index}.png", mask)
    return DATASETS.build({**FOLDER_ARGUMENTS, "root": str(root), **changes})


def blurred(picture):
    return picture.filter(ImageFilter.GaussianBlur(0.6))


def shrunk(picture):
    return picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC)


def antialiased(picture):
    return picture.reduce(3)


def jpeg(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=95)
    return Image.open(buffer)


@pytest.mark.parametrize("way", [blurred, shrunk, antialiased, jpeg])
@pytest.mark.parametrize("names", [None, ["a", "b", "c", "d"]])
def test_smoothed_colors_are_refused_with_those_that_they_are_mixed_of(tmp_path, way, names):
    masks = [np.asarray(way(Image.fromarray(COLORS[scene(seed)]))) for seed in range(6)]
    with pytest.raises(DataError, match=r"^most of the .* colors of the masks are rare mixtures of a few") as raised:
        folder_of(tmp_path, masks, classes=names)
    told = str(raised.value)
    assert "\n" not in told
    if way is not jpeg:  # which moves the others, too
        assert all(str(color) in told for color in COLORS.tolist())
        assert told.count("[") == len(COLORS)
    table = COLORS.tolist()
    assert folder_of(tmp_path, masks, colors=table, classes=["a", "b", "c", "d"]).num_classes == 4, (
        "a person knows better"
    )


@pytest.mark.parametrize("way", [blurred, shrunk, jpeg])
def test_smoothed_gray_levels_are_refused(tmp_path, way):
    masks = [np.asarray(way(Image.fromarray(LEVELS[scene(seed)]))) for seed in range(6)]
    with pytest.raises(DataError, match=r"^most of the \d+ gray levels of the masks are rare mixtures of a few"):
        folder_of(tmp_path, masks)


def voc_colors(count):
    """Combinations of 0, 128, 64, 192, ...: many lie in the middle between two others."""
    index = np.arange(count)
    channels = [sum(((index >> (3 * bit + of)) & 1) << (7 - bit) for bit in range(3)) for of in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)


def rare_classes(size, count=40):
    masks = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        mask = np.zeros((96, 128), np.uint8)
        mask[48:] = 1
        for index in rng.permutation(np.repeat(np.arange(2, count), 1 + (size < 3))):
            top, left = rng.integers(0, 96 - size), rng.integers(0, 128 - size)
            mask[top : top + size, left : left + size] = index
        masks.append(mask)
    return masks


def lines(count=20):
    masks = []
    for seed in range(4):
        picture, rng = Image.new("L", (128, 96)), np.random.default_rng(seed)
        draw = ImageDraw.Draw(picture)
        draw.rectangle([0, 48, 128, 96], fill=1)
        for index in range(2, count):
            draw.line([tuple(map(int, rng.integers(0, 96, 2))) for _ in range(3)], fill=index, width=1 + index % 3)
        masks.append(np.asarray(picture))
    return masks


@pytest.mark.parametrize(
    "masks",
    [*(rare_classes(size) for size in (1, 2, 3, 5)), lines(), [np.random.default_rng(0).integers(0, 40, (60, 60))] * 2],
    ids=["1", "2", "3", "5", "lines", "noise"],
)
def test_palettes_of_many_rare_classes_are_no_mixtures(tmp_path, masks):
    count = len(np.unique(masks))
    assert folder_of(tmp_path / "colors", [voc_colors(40)[mask] for mask in masks]).num_classes == count
    red = [np.dstack([mask, 0 * mask, 0 * mask]).astype(np.uint8) for mask in masks]
    assert folder_of(tmp_path / "red", red).num_classes == count, "classes in one channel, a level apart"
    assert folder_of(tmp_path / "gray", [(mask * 5).astype(np.uint8) for mask in masks]).num_classes == count


def test_a_smoothed_mask_of_one_class_is_cut_in_the_middle(tmp_path):
    masks = [np.asarray(blurred(Image.fromarray((scene(seed, most=2) * 255).astype(np.uint8)))) for seed in range(6)]
    assert folder_of(tmp_path, masks).found["mask_kind"] == "threshold"
