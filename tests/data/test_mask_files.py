"""Every kind of file that can hold a map of labels gives the same classes back, or one line; never another class."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from dmtc.core.errors import ConfigError, DataError
from dmtc.data import DATASETS
from dmtc.data.mask_files import read_mask
from dmtc.data.masks import ColorMasks, IndexMasks, ThresholdMasks, ValueMasks
from tiff_files import tiff_bytes
from trees import FOLDER_ARGUMENTS, save

PALETTE = np.random.default_rng(3).permutation(1 << 24)[:256]
COLORS = np.stack([PALETTE >> 16, PALETTE >> 8 & 255, PALETTE & 255], axis=1).astype(np.uint8)
"""256 different colors."""


def pillow(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def with_palette(values):
    picture = Image.fromarray(values.astype(np.uint8))
    picture.putpalette(COLORS.tobytes())
    return picture


def npy(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def pnm(values):
    deep = values.max() > 255
    head = f"P5\n# a comment\n{values.shape[1]} {values.shape[0]}\n{max(1, int(values.max()))}\n"
    return head.encode() + values.astype(">u2" if deep else np.uint8).tobytes()


def three(values):
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


# Name, what the file holds, and whether it can hold these values.
WRITERS = {
    "8.png": lambda values: pillow(Image.fromarray(values.astype(np.uint8)), "PNG"),
    "16.png": lambda values: pillow(Image.fromarray(values.astype(np.uint16)), "PNG"),
    "palette.png": lambda values: pillow(with_palette(values), "PNG"),
    "rgb.png": lambda values: pillow(Image.fromarray(three(values)), "PNG"),
    "8.bmp": lambda values: pillow(Image.fromarray(values.astype(np.uint8)), "BMP"),
    "palette.bmp": lambda values: pillow(with_palette(values), "BMP"),
    "8.gif": lambda values: pillow(Image.fromarray(values.astype(np.uint8)), "GIF"),
    "lossless.webp": lambda values: pillow(Image.fromarray(three(values)), "WEBP", lossless=True, exact=True),
    "lzw.tif": lambda values: pillow(Image.fromarray(values.astype(np.uint8)), "TIFF", compression="tiff_lzw"),
    "palette.tif": lambda values: pillow(with_palette(values), "TIFF"),
    "x.npy": npy,
    "x.pgm": pnm,
}
BYTES = {name for name in WRITERS if name not in ("16.png", "x.npy", "x.pgm")}
DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "u8", "i8")
LAYOUTS = (
    {}, {"compressed": True, "predictor": 2}, {"tile": (16, 16)}, {"big_endian": True}, {"rows": 3, "compressed": True},
)  # fmt: skip


def written(name, values):
    if name in BYTES and (values.min() < 0 or values.max() > 255):
        return None
    if name in ("16.png", "x.pgm") and (values.min() < 0 or values.max() > 65535):
        return None
    return WRITERS[name](values)


def files_of(values):
    """Each kind of file that can hold whole numbers, with its name."""
    for name in WRITERS:
        content = written(name, values)
        if content is not None:
            yield name, content
    for dtype in DTYPES:
        if dtype == "f2" and np.abs(values).max() > 2048:
            continue
        numbers = values.astype(dtype)
        if (numbers.astype("f8") == values).all():
            for number, layout in enumerate(LAYOUTS):
                yield f"{dtype}-{number}.tif", tiff_bytes(numbers, **layout)
            if dtype in ("f4", "f8"):
                yield f"{dtype}-float.tif", tiff_bytes(numbers, compressed=True, predictor=3)


@st.composite
def label_maps(draw):
    """Whole numbers, of few or many values, with or without odd ones."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    few = draw(st.lists(st.integers(0, 255), min_size=1, max_size=6))
    odd = draw(
        st.lists(st.sampled_from([-9999, -1, -128, 256, 300, 600, 65535, 70_000, -(2**31), 2**32 - 1]), max_size=2)
    )
    return rng.choice(np.array([*few, *odd], np.int64), (draw(st.integers(1, 9)), draw(st.integers(1, 24))))


def classes_or_none(reader, path):
    try:
        return reader(path)
    except DataError as error:
        return None if len(str(error).splitlines()) == 1 else str(error)


def check(folder, values, ignored):
    """Read as indices and by a table, ignoring some values or none, from every file."""
    classes = sorted({int(value) for value in np.unique(values) if 0 <= value < 65536} - {255, *ignored})[:250]
    seen = 0
    for name, content in files_of(values):
        (path := folder / name).write_bytes(content)
        expected = np.where(np.isin(values, [*ignored, 255]), 255, values)
        readers = [(IndexMasks(ignored), expected)]
        if len(classes) > 1:
            index = np.full(values.shape, -1)
            for place, value in enumerate(classes):
                index[values == value] = place
            index[np.isin(values, [*ignored, 255])] = 255
            readers.append((ValueMasks(classes, ignored), index))
        for reader, wanted in readers:
            fits = ((wanted >= 0) & (wanted <= 255)).all()
            read = classes_or_none(reader, path)
            assert (read is not None) == bool(fits), name
            if read is not None:
                np.testing.assert_array_equal(read, wanted, name)
            seen += 1
    assert seen > 5


@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(label_maps(), st.sets(st.sampled_from([-9999, -1, 0, 3, 255, 300, 65535]), max_size=3))
def test_label_maps_survive_every_kind_of_file(tmp_path_factory, values, ignored):
    check(tmp_path_factory.mktemp("m"), values, tuple(ignored))


@pytest.mark.slow
@settings(max_examples=500, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(label_maps(), st.sets(st.sampled_from([-9999, -1, 0, 3, 255, 300, 65535]), max_size=3))
def test_many_label_maps_survive_every_kind_of_file(tmp_path_factory, values, ignored):
    check(tmp_path_factory.mktemp("m"), values, tuple(ignored))


def test_colors_survive_every_kind_of_file(tmp_path):
    values = np.random.default_rng(0).integers(0, 7, (12, 20))
    colors = COLORS[values]
    files = {
        "a.png": pillow(Image.fromarray(colors), "PNG"),
        "b.png": pillow(with_palette(values), "PNG"),
        "c.bmp": pillow(Image.fromarray(colors), "BMP"),
        "d.gif": pillow(with_palette(values), "GIF"),
        "e.webp": pillow(Image.fromarray(colors), "WEBP", lossless=True, exact=True),
        "f.tif": tiff_bytes(colors, photometric=2, separate=True),
        "g.tif": tiff_bytes(colors.astype("u2") * 257, photometric=2, tile=(16, 16), compressed=True),
        "h.tif": tiff_bytes(np.dstack([colors, np.full(values.shape, 255, np.uint8)]), photometric=2, extra=2),
        "i.npy": npy(colors),
    }
    for name, content in files.items():
        (path := tmp_path / name).write_bytes(content)
        read = ColorMasks(COLORS[1:7].tolist(), [COLORS[0].tolist()])(path)
        np.testing.assert_array_equal(read, np.where(values == 0, 255, values - 1), name)


def put(folder, name, content):
    (path := folder / name).write_bytes(content)
    return path


def test_nan_and_what_a_file_says_to_hold_no_data_is_ignored(tmp_path):
    values = np.array([[np.nan, -9999, 0, 1, 2, np.nan]], "f4")
    path = put(tmp_path, "a.tif", tiff_bytes(values, nodata="-9999"))
    assert IndexMasks()(path).tolist() == [[255, 255, 0, 1, 2, 255]]
    assert read_mask(path).ignored == {"NaN": 2, "-9999": 1}
    whole = put(tmp_path, "b.tif", tiff_bytes(np.array([[0, 1, 2]], "u1"), nodata="0"))
    assert IndexMasks()(whole).tolist() == [[255, 1, 2]]
    assert ValueMasks([0, 1, 2])(whole).tolist() == [[0, 1, 2]], "a class's own value comes before the tag"
    lowest = np.array([[np.finfo("f4").min, 3]], "f4")
    for nodata in ("-3.4028234663852886e+38", "-3.40282e+38", None):
        path = put(tmp_path, "c.tif", tiff_bytes(lowest, nodata=nodata))
        assert IndexMasks(None if nodata else -3.4e38)(path).tolist() == [[255, 3]]
    assert IndexMasks()(put(tmp_path, "d.tif", tiff_bytes(np.array([[0, 1]], "f8"), nodata="nan"))).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.array([[0, 0.5, 1]], "f4"), r"1 pixels hold fractions, such as 0\.5; masks hold whole numbers"),
        (np.array([[0, np.inf]], "f4"), r"value inf \(1 pixels\) is not a class"),
        (
            np.array([[0, -3.4e38, -3.4e38]], "f8"),
            r"value -3\.4e\+38 \(2 pixels\) is not a class; .*ignore_value=",
        ),
        (np.array([[0, -9999]], "f4"), r"-9999 \(1 pixels\) belongs to no class"),
        (np.array([[300, 600]], "f4"), r"600 \(1 pixels\), 300 \(1 pixels\) belong to no class"),
        (np.zeros((2, 2, 5), "u1"), r"a mask has one channel, or the three of a color, but this is a TIFF of 5 bands"),
        (np.dstack([np.eye(3)] * 2 + [1 - np.eye(3)]).astype("f4"), r"the colors of a mask have 8 bits a channel"),
    ],
)
def test_numbers_that_are_no_classes_are_told_with_their_count(tmp_path, values, told):
    path = put(tmp_path, "m.tif", tiff_bytes(values))
    for _ in range(2):
        with pytest.raises(DataError, match=rf"m\.tif: {told}") as raised:
            IndexMasks()(path)
        assert "\n" not in str(raised.value)


def test_pages_and_frames_are_told_and_small_copies_are_none(tmp_path):
    page = np.zeros((8, 8), np.uint8)
    with pytest.raises(DataError, match=r"a\.tif: holds 3 pages or frames, but a mask has one"):
        read_mask(put(tmp_path, "a.tif", tiff_bytes(page, pages=[page, page])))
    with pytest.raises(DataError, match=r"b\.tif: holds 4 pages"):
        read_mask(put(tmp_path, "b.tif", tiff_bytes(page, description="ImageJ=1.53\nimages=4\n")))
    read_mask(put(tmp_path, "c.tif", tiff_bytes(page, pages=[page[::2, ::2]], page_kind=1)))
    frames = [Image.fromarray(page), Image.fromarray(page + 1)]
    animated = pillow(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"d\.gif: holds 2 pages or frames"):
        read_mask(put(tmp_path, "d.gif", animated))


def test_white_that_is_zero_stays_a_number(tmp_path):
    """ImageJ writes binary masks so, and its foreground is 255."""
    values = np.array([[0, 1, 2]], np.uint8)
    assert IndexMasks()(put(tmp_path, "a.tif", tiff_bytes(values, photometric=0))).tolist() == [[0, 1, 2]]


def test_rgb_masks_of_16_bits_keep_their_lower_ones(tmp_path):
    import cv2

    values = np.array([[0, 1, 2], [2, 1, 0]], np.uint16)
    cv2.imwrite(str(path := tmp_path / "a.png"), np.dstack([values] * 3))
    np.testing.assert_array_equal(IndexMasks()(path), values)


def test_arrays_of_objects_are_not_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'trapped'}",)

    np.save(path := tmp_path / "a.npy", np.array([Trap()], object), allow_pickle=True)
    with pytest.raises(DataError, match=r"a\.npy: cannot be read as a mask"):
        read_mask(path)
    assert not (tmp_path / "trapped").exists()
    with pytest.raises(DataError, match=r"b\.npy: cannot be read as a mask \(it is of shape \(3,\)"):
        read_mask(put(tmp_path, "b.npy", npy(np.zeros(3))))


def test_pipes_and_devices_are_told(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    Path(tmp_path / "b.png").symlink_to("/dev/zero")
    for name, kind in (("a", "pipe"), ("b", "device")):
        with pytest.raises(DataError, match=rf"{name}\.png is a {kind}, not a regular file"):
            read_mask(tmp_path / f"{name}.png")


def test_huge_masks_are_read_and_what_memory_cannot_hold_is_to_be_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = put(tmp_path, "a.png", pillow(Image.fromarray(np.eye(40, dtype=np.uint8)), "PNG"))
    np.testing.assert_array_equal(IndexMasks()(path), np.eye(40))
    monkeypatch.setattr("dmtc.data.opening._LARGE", 100)
    monkeypatch.setattr("dmtc.data.opening._free_bytes", lambda: 1000)
    with pytest.raises(DataError, match=r"a\.png: 40x40 pixels take .* cut images and masks into tiles"):
        IndexMasks()(path)


def test_several_ignored_values(tmp_path):
    path = put(tmp_path, "a.png", pillow(Image.fromarray(np.array([[0, 1, 3, 4, 254]], np.uint8)), "PNG"))
    assert IndexMasks([3, 4, 254])(path).tolist() == [[0, 1, 255, 255, 255]]
    assert ValueMasks([1, 0], (3, 4, 254))(path).tolist() == [[1, 0, 255, 255, 255]]
    assert ThresholdMasks(255, 254)(path).tolist() == [[0, 0, 0, 0, 255]]
    with pytest.raises(ConfigError, match="mask value 0 is a class's and cannot mean ignored too"):
        ValueMasks([1, 0], [0, 7])


def folder_of(root, masks, suffix=".png", **changes):
    for index, mask in enumerate(masks):
        save(root / f"images/{index}.png", np.full((*np.asarray(mask).shape[:2], 3), index, np.uint8))
        path = root / f"masks/{index}{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tiff_bytes(mask) if suffix == ".tif" else pillow(mask, "PNG"))
    return DATASETS.build({**FOLDER_ARGUMENTS, "root": str(root), **changes})


INVERTED = [level for index in range(256) for level in [255 - index] * 3]
RED = [0, 0, 0] * 255 + [255, 0, 0]


@pytest.mark.parametrize("palette", [INVERTED, RED])
@pytest.mark.parametrize("names", [None, ["background", "polyp"], ["polyp"]])
def test_palettes_of_0_and_255_are_background_and_foreground(tmp_path, palette, names):
    drawn = np.eye(8, dtype=np.uint8) * 255
    pictures = []
    for mask in (drawn, drawn[::-1]):
        picture = Image.fromarray(mask)
        picture.putpalette(palette)
        pictures.append(picture)
    dataset = folder_of(tmp_path, pictures, classes=names)
    assert dataset.found["mask_kind"] == "binary"
    assert dataset.classes == ("background", "polyp" if names else "foreground")
    np.testing.assert_array_equal(dataset.mask("0"), np.eye(8))
    with pytest.raises(DataError, match="fewer than two classes"):
        folder_of(tmp_path, pictures, ignore_value=255)


def test_float_masks_of_a_folder(tmp_path):
    masks = [np.where(np.eye(9) > 0, -9999, index % 3).astype("f4") for index in range(4)]
    dataset = folder_of(tmp_path, masks, ".tif", ignore_value=-9999)
    assert dataset.classes == ("class 0", "class 1", "class 2")
    assert "and -9999 for ignored pixels" in dataset.notes[0]
    np.testing.assert_array_equal(dataset.mask("1"), np.where(np.eye(9) > 0, 255, 1))
    again = DATASETS.build({**FOLDER_ARGUMENTS, "root": str(tmp_path), **dataset.found})
    np.testing.assert_array_equal(again.mask("1"), dataset.mask("1"))
    named = folder_of(tmp_path, masks, ".tif", classes=["a", "b", "c"])
    with pytest.raises(DataError, match=r"-9999 \(9 pixels\) belongs to no class"):
        named.mask("0")


@pytest.mark.parametrize(
    ("classes", "expected", "names"),
    [
        ("classes: [a, b, c]\nignore: [3, 4]\n", [0, 1, 2, 255, 255], ("a", "b", "c")),
        ("classes: [a, b]\nignore: [2, 3, 4]\n", [0, 1, 255, 255, 255], ("a", "b")),
        ("classes: [void, b, c, d, e]\nignore: void\n", [255, 0, 1, 2, 3], ("b", "c", "d", "e")),
        ("classes: [a, b, void, d, e]\nignore: [void]\n", [0, 1, 255, 2, 3], ("a", "b", "d", "e")),
        ("classes: [a, b, c, d, void]\nignore: void\n", [0, 1, 2, 3, 255], ("a", "b", "c", "d")),
        ("classes:\n- {name: void, value: 2}\n- {name: b, value: 0}\n- {name: c, value: 1}\nignore: [void, 3, 4]\n",
         [0, 1, 255, 255, 255], ("b", "c")),
    ],
)  # fmt: skip
def test_what_ignore_may_say(tmp_path, classes, expected, names):
    (tmp_path / "classes.yaml").write_text(classes)
    mask = np.tile(np.arange(5), (2, 1)).astype(np.uint8)
    dataset = folder_of(tmp_path, [Image.fromarray(mask)] * 2)
    assert dataset.classes == names
    assert dataset.mask("0")[0].tolist() == expected
    again = DATASETS.build({**FOLDER_ARGUMENTS, "root": str(tmp_path), **dataset.found})
    assert again.classes == names
    assert again.mask("0")[0].tolist() == expected


def test_ignored_colors_and_classes_with_colors(tmp_path):
    mask = Image.fromarray(COLORS[:4][np.tile(np.arange(4), (2, 1))])
    table = "".join(f"- {{name: c{place}, color: {COLORS[place].tolist()}}}\n" for place in range(2))
    (tmp_path / "classes.yaml").write_text(f"classes:\n{table}ignore: {COLORS[2:4].tolist()}\n")
    assert folder_of(tmp_path, [mask] * 2).mask("0")[0].tolist() == [0, 1, 255, 255]
    (tmp_path / "classes.yaml").write_text(
        f"classes:\n{table}ignore: [c0, {COLORS[2].tolist()}, {COLORS[3].tolist()}]\n"
    )
    dataset = folder_of(tmp_path, [mask] * 2)
    assert dataset.mask("0")[0].tolist() == [255, 0, 255, 255]
    assert dataset.classes == ("c1",)


@pytest.mark.parametrize("place", ["file", "setting"])
def test_labelmes_first_name_is_no_class(tmp_path, place):
    names = ["__ignore__", "_background_", "road", "car"]
    (tmp_path / "labels.txt").write_text("\ufeff" + "\n".join(names))
    mask = Image.fromarray(np.array([[0, 1, 2, 255]] * 2, np.uint8))
    dataset = folder_of(tmp_path, [mask] * 2, classes=str(tmp_path / "labels.txt") if place == "file" else names)
    assert dataset.classes == ("_background_", "road", "car")
    assert dataset.mask("0")[0].tolist() == [0, 1, 2, 255]
    with pytest.raises(DataError, match="__ignore__ is number 1 of the names"):
        folder_of(tmp_path, [mask] * 2, classes=["a", "__ignore__", "b", "c"])


@pytest.mark.parametrize("word", ["void", "Unlabeled", "???", "don't care", "IGNORE"])
def test_names_that_say_ignored_are_warned_of(tmp_path, caplog, word):
    mask = Image.fromarray(np.array([[0, 1, 2]] * 2, np.uint8))
    dataset = folder_of(tmp_path, [mask] * 2, classes=[word, "road", "car"])
    assert dataset.num_classes == 3
    assert f"class 0 is called {word!r}" in caplog.text
    assert "dataset.ignore_value=0" in caplog.text
    caplog.clear()
    dataset = folder_of(tmp_path, [mask] * 2, classes=[word, "road", "car"], ignore_value=0)
    assert dataset.classes == ("road", "car")
    assert dataset.mask("0")[0].tolist() == [255, 0, 1]
    assert "is called" not in caplog.text
