"""Properties that hold for every input, tried on many small ones."""

import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dmtc.core.errors import ConfigError, DataError
from dmtc.core.types import IGNORE_INDEX, Sample
from dmtc.data.augment import Augment
from dmtc.data.ids import file_name, id_fault
from dmtc.data.masks import ColorMasks, IndexMasks
from dmtc.pseudo import LEVELS, PseudoLabelStore, class_balanced_thresholds, level_confidence
from dmtc.pseudo.selection import threshold_levels
from dmtc.splits import SPLITS, Split, dmt_split, read_ids

tried = settings(max_examples=40, deadline=None, derandomize=True, database=None)

sizes = st.tuples(st.integers(1, 24), st.integers(1, 24))
seeds = st.integers(0, 2**32 - 1)


def array(seed: int, shape: tuple[int, ...], values: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, values, shape).astype(dtype)


def saved(picture: Image.Image, folder: str, suffix: str) -> Path:
    path = Path(folder) / f"mask{suffix}"
    picture.save(path)
    return path


# Masks: what is drawn is what is read, however it is stored.


@tried
@given(sizes, seeds, st.integers(1, 256), st.sampled_from([".png", ".tif", ".bmp"]), st.booleans())
def test_index_masks_come_back(size, seed, values, suffix, palette):
    mask = array(seed, size, values)
    picture = Image.fromarray(mask)
    if palette:
        picture.putpalette(array(seed, (768,), 256).tobytes())
    with tempfile.TemporaryDirectory() as folder:
        read = IndexMasks()(saved(picture, folder, suffix))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, mask)


@tried
@given(sizes, seeds, st.integers(0, 65535))
def test_ignored_values_and_no_others_become_ignored(size, seed, ignored):
    mask = array(seed, size, 255, np.uint16)
    mask[0, 0] = ignored
    with tempfile.TemporaryDirectory() as folder:
        read = IndexMasks(ignore_value=ignored)(saved(Image.fromarray(mask), folder, ".png"))
    np.testing.assert_array_equal(read, np.where(mask == ignored, IGNORE_INDEX, mask))


@tried
@given(sizes, seeds, st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=2, max_size=30, unique=True))
def test_color_masks_come_back_or_are_refused(size, seed, colors):
    *listed, unlisted = colors
    index = array(seed, size, len(listed))
    picture = np.array(listed, np.uint8)[index]
    with tempfile.TemporaryDirectory() as folder:
        np.testing.assert_array_equal(ColorMasks(listed)(saved(Image.fromarray(picture), folder, ".png")), index)
        picture[-1, -1] = unlisted
        with pytest.raises(DataError, match="is not a class") as caught:
            ColorMasks(listed)(saved(Image.fromarray(picture), folder, ".png"))
        assert caught.value.counts == {f"color {unlisted}": 1}


# Splits: every image is on one side, and the same one whenever it is asked.

id_sets = st.sets(st.text("abcxyz_/0123456789 é", min_size=1, max_size=12), min_size=1, max_size=60)


@tried
@given(id_sets, st.fractions(Fraction(1, 60), 1), st.integers(0, 3), st.randoms(use_true_random=False))
def test_random_splits_divide_the_images(ids, ratio, fold, random):
    text = f"{ratio.numerator}/{ratio.denominator}"
    ordered = sorted(ids)
    try:
        labelled, unlabelled = dmt_split(ordered, text, fold)
    except ConfigError:
        assert len(ids) * ratio < 1
        return
    assert sorted([*labelled, *unlabelled]) == ordered
    assert int(len(ids) * ratio) <= len(labelled) <= int(len(ids) * ratio) + 1
    shuffled = random.sample(ordered, len(ordered))
    assert dmt_split(shuffled, text, fold) == (labelled, unlabelled), "the order they came in does not count"
    more, _ = dmt_split(ordered, "full", fold)
    assert more[: len(labelled)] == labelled, "larger ratios only add"


def test_every_split_fits_its_data_set_and_survives_json():
    made = []

    @tried
    @given(id_sets, id_sets, st.floats(0.0, 1.0), st.integers(0, 3), st.sampled_from([0.5, "1/4", "full"]))
    def try_one(masked, others, common, fold, ratio):
        ids, unmasked = tuple(sorted(masked)), tuple(sorted(others - masked))
        spec = {"name": "difference_maximized", "ratio": ratio, "fold": fold, "common": common}
        try:
            split = SPLITS.build(spec, "split", ids=ids, unmasked=unmasked)
            split.check({*ids, *unmasked}, ids)
        except (ConfigError, DataError):
            assert len(ids) < 8, "too few images for two different subsets"
            return
        made.append(split)
        assert set(split.labelled) | set(split.unlabelled) == {*ids, *unmasked}
        assert set(unmasked) <= set(split.unlabelled)
        assert set().union(*split.subsets.values()) == set(split.labelled)
        again = Split.from_json(split.to_json())
        assert again == split
        assert again.sha256 == split.sha256

    try_one()
    assert len(made) > 20


@tried
@given(st.sets(st.text("abcxyz_0123456789", min_size=1, max_size=8), min_size=1, max_size=30), st.data())
def test_lists_of_paths_come_back_as_ids(ids, data):
    ordered = data.draw(st.permutations(sorted(ids)))
    form = data.draw(
        st.sampled_from(["{}", "{}.png", "/data/images/{}.jpg", "a/{}.png b/{}.png", "../../{}.jpg\t{}.png"])
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.txt"
        path.write_text("".join(form.format(id, id) + "\n\n" for id in ordered))
        assert read_ids(path, ids) == tuple(ordered)


# Thresholds: every class keeps its share, the surest first.


@tried
@given(seeds, st.integers(1, 5), st.integers(1, 12), st.floats(0.001, 1.0), st.floats(0.001, 1.0))
def test_thresholds_keep_the_share_of_every_class(seed, classes, bins, one, other):
    rng = np.random.default_rng(seed)
    histogram = rng.integers(0, 40, (classes, bins)) * rng.integers(0, 2, (classes, bins))
    low, high = sorted((one, other))
    lowest = threshold_levels(histogram, high)
    for row, level in zip(histogram, lowest, strict=True):
        wanted, kept, above = int(row.sum() * high), row[level:].sum(), row[level + 1 :].sum()
        assert kept >= min(wanted + 1, row.sum())
        if level > 0:
            assert above <= wanted, "no more than is needed"
    assert (threshold_levels(histogram, low) >= lowest)[histogram.sum(1) * low >= 1].all(), "a smaller share is surer"
    assert (threshold_levels(histogram, 1.0) == 0).all()
    thresholds = class_balanced_thresholds(histogram, high)
    np.testing.assert_allclose(thresholds, lowest / bins, rtol=1e-6)


# Transforms: image, label and confidence level stay aligned, and depend on nothing but the address.


@tried
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.floats(0.3, 3.0),
    st.floats(0.0, 1.0),
    seeds,
)
def test_image_label_and_level_stay_aligned(size, crop, scale, flip, seed):
    """All three carry one and the same checkerboard, coarse enough that every pixel's source can be told."""
    rows, columns = np.indices(size) // 4
    board = ((rows + columns) % 2).astype(np.uint8)
    sample = Sample("x", np.repeat(board[..., None] * 200, 3, 2), board, board.astype(np.uint16))
    augment = Augment(crop=list(crop), scale=[scale, scale], flip=flip)
    result = augment(sample, np.random.default_rng(seed))
    again = augment(sample, np.random.default_rng(seed))
    for name in ("image", "label", "level"):
        np.testing.assert_array_equal(getattr(result, name), getattr(again, name))
    assert result.image.shape == (*crop, 3)
    assert result.label.shape == result.level.shape == crop
    outside = result.label == IGNORE_INDEX
    assert (result.image[outside] == 0).all()
    assert (result.level[outside] == 0).all()
    covered = (min(crop[0], max(1, int(scale * size[0]))), min(crop[1], max(1, int(scale * size[1]))))
    assert (~outside).sum() == covered[0] * covered[1]
    np.testing.assert_array_equal(result.level[~outside], result.label[~outside])
    # Linear interpolation mixes neighbors at the borders of the board only: elsewhere image and label say the same.
    image = result.image[..., 0]
    plain = ~outside & ((image == 0) | (image == 200))
    np.testing.assert_array_equal(image[plain], result.label[plain] * np.uint8(200))


@tried
@given(sizes, st.booleans(), seeds)
def test_without_scale_and_crop_nothing_but_the_flip_happens(size, flip, seed):
    sample = Sample("x", array(seed, (*size, 3), 256), array(seed, size, 256), array(seed, size, LEVELS, np.uint16))
    result = Augment(crop=list(size), scale=[1.0, 1.0], flip=float(flip))(sample, np.random.default_rng(seed))
    for name in ("image", "label", "level"):
        expected = getattr(sample, name)
        np.testing.assert_array_equal(getattr(result, name), expected[:, ::-1] if flip else expected)


# The store: what is written is what is read, for any name.


@tried
@given(st.lists(st.text(max_size=20), min_size=1, max_size=6, unique=True), sizes, seeds, st.floats(0.01, 1.0))
def test_the_store_gives_back_what_was_written_and_stays_in_its_folder(ids, size, seed, ratio):
    labels = {id: array(seed + number, size, 5) for number, id in enumerate(ids)}
    levels = {id: array(seed + number, size, LEVELS, np.uint16) for number, id in enumerate(ids)}
    histogram = np.zeros((5, LEVELS), np.int64)
    for id in ids:
        np.add.at(histogram, (labels[id], levels[id]), 1)
    with tempfile.TemporaryDirectory() as folder:
        store = PseudoLabelStore(Path(folder) / "outer" / "store")
        for id in ids:
            store.write(id, labels[id], levels[id])
        store.finish(histogram, images=len(ids))
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        assert len(files) == len(ids) + 2
        assert {path.parent for path in files} == {store.folder}
        np.testing.assert_array_equal(store.histogram(), histogram)
        lowest = threshold_levels(histogram, ratio)
        for id in ids:
            label, level = store.read(id)
            np.testing.assert_array_equal(label, labels[id])
            np.testing.assert_array_equal(level, levels[id])
            selected, confidence = store.select(ratio).read(id)
            kept = levels[id] >= lowest[labels[id]]
            np.testing.assert_array_equal(selected, np.where(kept, labels[id], IGNORE_INDEX))
            np.testing.assert_array_equal(confidence, level_confidence()[levels[id]])


@tried
@given(st.text(max_size=30), st.text(max_size=30))
def test_names_of_files(one, other):
    assert (file_name(one) == file_name(other)) == (one == other)
    assert Path("run", file_name(one)).resolve().parent == Path("run").resolve()


@tried
@given(st.lists(st.text("ab.-_ é", min_size=1, max_size=6), min_size=1, max_size=4), st.sampled_from("/\\"))
def test_an_id_that_leaves_its_folder_is_refused(parts, separator):
    id = separator.join(parts)
    if ".." in parts:
        assert id_fault(id) is not None
    if id_fault(id) is None:
        assert (Path("/data") / id).resolve().is_relative_to("/data")
