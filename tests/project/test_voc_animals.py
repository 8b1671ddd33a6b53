"""docs/making/voc_animals.py on a miniature VOC and SBD, with a few of the ids that it lists."""

import runpy
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmtc.data import DATASETS
from dmtc.data.voc import voc_palette
from trees import FOLDER_ARGUMENTS, save, write_list

SCRIPT = Path(__file__).parents[2] / "docs" / "making" / "voc_animals.py"
LISTS = SCRIPT.with_suffix("")
REAL = Path(__file__).parents[3] / "shared" / "voc_animals"
NAMES = ("background", "cat", "cow", "dog", "horse", "person", "sheep")
ROW = (0, 8, 10, 12, 13, 15, 17, 255, 1, 20)
"""What the masks of VOC hold, from left to right: background, the six classes, the border, two other classes."""
SMALL_ROW = [0, 1, 2, 3, 4, 5, 6, 255, 0, 0]


def listed(name):
    return (LISTS / f"{name}.txt").read_text().split()


FINE, VAL, TEST = listed("train_fine")[:1], listed("val")[:1], listed("test")[:2]
LOOSE = [id for id in listed("train") if id not in listed("train_fine")][:2]
PARTS = {"train": FINE + LOOSE, "val": VAL, "test": TEST}


@pytest.fixture
def script(tmp_path):
    """The script beside short lists."""
    for name, ids in {**PARTS, "train_fine": FINE}.items():
        write_list(tmp_path / f"making/voc_animals/{name}.txt", ids)
    return shutil.copy(SCRIPT, tmp_path / "making")


@pytest.fixture
def voc(tmp_path):
    """VOCdevkit: VOC's masks are stripes from left to right, those of SegmentationClassAug are cats all over."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    label = np.repeat(np.array([ROW], np.uint8), 50, axis=1).repeat(375, axis=0)
    for id in (*FINE, *LOOSE, *VAL, *TEST):
        tall = id == TEST[1]
        mask = label.T if tall else label
        save(root / f"JPEGImages/{id}.jpg", np.repeat(mask[..., None] // 2, 3, 2))
        if id not in LOOSE:
            own = Image.fromarray(mask)
            own.putpalette(voc_palette(256).tobytes())
            save(root / f"SegmentationClass/{id}.png", own)
        save(root / f"SegmentationClassAug/{id}.png", np.full_like(mask, 8))
    write_list(root / "ImageSets/Segmentation/train.txt", FINE + VAL)
    write_list(root / "ImageSets/Segmentation/val.txt", TEST)
    return root.parent


@pytest.fixture
def run(script, monkeypatch, capsys):
    def run(*arguments):
        """Exit code and the lines of stderr."""
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as stopped:
            return stopped.code, capsys.readouterr().err.splitlines()
        return 0, capsys.readouterr().err.splitlines()

    return run


def made(folder, kind):
    return {path.relative_to(folder / kind).as_posix() for path in (folder / kind).rglob("*.*")}


def test_sizes_classes_and_whose_masks(voc, run, tmp_path):
    """An empty folder may be there already; VOC's masks where they are fine, SBD's elsewhere."""
    output = tmp_path / "out"
    output.mkdir()
    assert run("--voc", voc, "--output", output) == (0, [])
    ids = {f"{part}/{id}" for part, own in PARTS.items() for id in own}
    assert made(output, "images") == {f"{id}.jpg" for id in ids}
    assert made(output, "labels") == {f"{id}.png" for id in ids}
    for id in ids:
        with Image.open(output / f"labels/{id}.png") as mask, Image.open(output / f"images/{id}.jpg") as image:
            assert mask.size == image.size == ((216, 288) if id.endswith(TEST[1]) else (288, 216))
            assert (mask.mode, mask.getpalette()) == ("P", voc_palette(256).ravel().tolist())
            values = np.asarray(mask)
        values = values.T if id.endswith(TEST[1]) else values
        expected = [1] * 10 if id.split("/")[1] in LOOSE else SMALL_ROW
        np.testing.assert_array_equal(values[:, 14::29], np.tile(expected, (216, 1)))
    assert (output / "train_fine.txt").read_text().split() == FINE


def test_a_small_image_is_not_enlarged(voc, run, tmp_path):
    save(voc / f"VOC2012/JPEGImages/{LOOSE[0]}.jpg", np.zeros((40, 30, 3), np.uint8))
    save(voc / f"VOC2012/SegmentationClassAug/{LOOSE[0]}.png", np.full((40, 30), 17, np.uint8))
    assert run("--voc", voc, "--output", tmp_path / "out") == (0, [])
    for file in (f"images/train/{LOOSE[0]}.jpg", f"labels/train/{LOOSE[0]}.png"):
        with Image.open(tmp_path / "out" / file) as small:
            assert small.size == (30, 40)


def test_the_folder_is_read_with_its_parts_and_names(voc, run, tmp_path):
    run("--voc", voc, "--output", tmp_path / "out")
    dataset = DATASETS.build({**FOLDER_ARGUMENTS, "root": str(tmp_path / "out")})
    assert dataset.classes == NAMES
    for part, ids in PARTS.items():
        assert sorted(id.split("/")[-1] for id in getattr(dataset, part)) == sorted(ids)


def test_masks_in_the_files_of_sbd(voc, run, tmp_path, monkeypatch):
    """SciPy is not installed with the library; without it, one line says how to have it."""
    shutil.rmtree(voc / "VOC2012/SegmentationClassAug")
    cls = tmp_path / "benchmark_RELEASE/dataset/cls"
    cls.mkdir(parents=True)
    for id in LOOSE:
        (cls / f"{id}.mat").write_bytes(b"")
    arguments = ("--voc", voc, "--sbd", cls.parents[1], "--output", tmp_path / "out")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    code, (line,) = run(*arguments)
    assert (code, "uv run --with scipy" in line) == (2, True)
    record = np.zeros((1, 1), [("Segmentation", object)])  # as SciPy gives a struct of MATLAB
    record[0, 0]["Segmentation"] = np.full((375, 500), 12, np.uint8)
    scipy = types.SimpleNamespace(loadmat=lambda path: {"GTcls": record})
    monkeypatch.setitem(sys.modules, "scipy", types.ModuleType("scipy"))
    monkeypatch.setitem(sys.modules, "scipy.io", scipy)
    assert run(*arguments) == (0, [])
    for id in LOOSE:
        with Image.open(tmp_path / f"out/labels/train/{id}.png") as mask:
            assert mask.getcolors() == [(288 * 216, 3)]


def test_a_file_of_sbd_as_it_is(script, tmp_path):
    scipy = pytest.importorskip("scipy.io", reason="not installed with the library")
    segmentation = np.arange(6, dtype=np.uint8).reshape(2, 3)
    (tmp_path / "cls").mkdir()
    scipy.savemat(tmp_path / "cls/a.mat", {"GTcls": {"Segmentation": segmentation}}, do_compression=True)
    _, _, read = runpy.run_path(str(script))["sbd_masks"](tmp_path, tmp_path)
    np.testing.assert_array_equal(read(tmp_path / "cls/a.mat"), segmentation)


def lose_masks(voc):
    shutil.rmtree(voc / "VOC2012/SegmentationClass")


def lose_sbd(voc):
    shutil.rmtree(voc / "VOC2012/SegmentationClassAug")


def lose_some_of_sbd(voc):
    for id in LOOSE:
        (voc / f"VOC2012/SegmentationClassAug/{id}.png").unlink()


def lose_an_image(voc):
    (voc / f"VOC2012/JPEGImages/{LOOSE[1]}.jpg").unlink()


def break_an_image(voc):
    (voc / f"VOC2012/JPEGImages/{TEST[0]}.jpg").write_bytes(b"no picture")


def shrink_a_mask(voc):
    save(voc / f"VOC2012/SegmentationClassAug/{LOOSE[0]}.png", np.zeros((3, 4), np.uint8))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (shutil.rmtree, "JPEGImages is missing; download VOCtrainval"),
        (lose_masks, "SegmentationClass is missing"),
        (lose_sbd, "SegmentationClassAug is missing; or give --sbd: download"),
        (lose_some_of_sbd, f"SegmentationClassAug: 2 of 2 masks are missing; the first is {LOOSE[0]}"),
        (lose_an_image, f"JPEGImages: 1 of 6 images are missing; the first is {LOOSE[1]}"),
        (break_an_image, f"{TEST[0]}.jpg: cannot be read as an image"),
        (shrink_a_mask, f"{LOOSE[0]}.jpg: has 500x375 pixels, its mask 4x3"),
    ],
)
def test_an_error_is_one_line_and_leaves_nothing(voc, run, tmp_path, spoil, said):
    spoil(voc)
    before = sorted(tmp_path.iterdir())
    code, (line,) = run("--voc", voc, "--output", tmp_path / "out")
    assert code == 2
    assert said in line
    assert "dataset.root" not in line
    assert sorted(tmp_path.iterdir()) == before


def test_files_in_the_output_folder_stay(voc, run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").touch()
    code, (line,) = run("--voc", voc, "--output", tmp_path / "out")
    assert (code, "is not an empty folder" in line) == (2, True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_the_lists_are_disjoint_and_short():
    parts = {part: listed(part) for part in PARTS}
    assert {part: len(ids) for part, ids in parts.items()} == {"train": 3011, "val": 120, "test": 445}
    assert len({id for ids in parts.values() for id in ids}) == 3576
    assert len(listed("train_fine")) == 317
    assert set(listed("train_fine")) < set(parts["train"])
    assert sum(path.stat().st_size for path in LISTS.iterdir()) < 60_000


@pytest.mark.skipif(not REAL.exists(), reason="needs the folder itself")
def test_the_lists_are_those_of_the_folder():
    for part in PARTS:
        for kind in ("images", "labels"):
            assert sorted(path.stem for path in (REAL / kind / part).iterdir()) == listed(part)
    assert (REAL / "train_fine.txt").read_text().split() == listed("train_fine")
