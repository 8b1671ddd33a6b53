"""Trees of pictures as tools and well-known data sets leave them: an export of Roboflow, and trees like Cityscapes'."""

from pathlib import Path

import numpy as np
import pytest

import dmtc
from dmtc.core.errors import DataError
from dmtc.data import DATASETS
from trees import FOLDER_ARGUMENTS, OWN, save, write_cityscapes

CSV = "Pixel Value, Class\n0, background\n1, left leaf\n2, stem\n"
COUNTS = {"train": 5, "valid": 2, "test": 2}


def roboflow(root: Path, table: str = CSV, values: tuple[int, ...] = (0, 1, 2)) -> Path:
    """The export "Semantic Segmentation Masks" of Roboflow: every part has images, masks and a table of classes."""
    for number, (part, count) in enumerate(COUNTS.items()):
        for index in range(count):
            rng = np.random.default_rng([number, index])
            name = f"IMG_{number}{index}_jpg.rf.{rng.bytes(16).hex()}"
            label = np.repeat(np.asarray(values, np.uint8), 12)[:, None].repeat(40, 1)
            save(root / part / f"{name}.jpg", rng.integers(0, 256, (*label.shape, 3), np.uint8))
            save(root / part / f"{name}_mask.png", label)
        (root / part / "_classes.csv").write_text(table)
    for name in ("dataset", "roboflow"):
        (root / f"README.{name}.txt").write_text("images of plants\n")
    return root


def read(root: Path, **changes):
    return DATASETS.build({**FOLDER_ARGUMENTS, "root": str(root), **changes})


def test_an_export_of_roboflow_needs_no_setting(tmp_path):
    dataset = read(roboflow(tmp_path))
    assert dataset.classes == ("background", "left leaf", "stem")
    assert [len(ids) for ids in (dataset.train, dataset.val, dataset.test)] == list(COUNTS.values())
    assert len(dataset.masked) == COUNTS["train"]
    assert all(dataset.masks[id].name == f"{dataset.images[id].stem}_mask.png" for id in dataset.images)
    assert sorted(np.unique(dataset.mask(dataset.val[0]))) == [0, 1, 2]
    assert any("_classes.csv" in note for note in dataset.notes)


def test_values_of_the_table_that_are_no_indices(tmp_path):
    table = "Pixel Value,Class\n0,background\n120,leaf\n240,stem\n"
    dataset = read(roboflow(tmp_path, table, values=(0, 120, 240)))
    assert dataset.classes == ("background", "leaf", "stem")
    assert sorted(np.unique(dataset.mask(dataset.train[0]))) == [0, 1, 2]


def test_a_table_without_names_of_rows_in_order(tmp_path):
    dataset = read(roboflow(tmp_path, "Pixel Value, Class\n2, stem\n0, background\n1, left leaf\n"))
    assert dataset.classes == ("background", "left leaf", "stem")
    assert sorted(np.unique(dataset.mask(dataset.train[0]))) == [0, 1, 2]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("Pixel Value, Class\n0, background\none, leaf\n", "line 3: the pixel value should be a number in 0..65535"),
        ("Pixel Value, Class\n0\n", "line 2 should be a pixel value and a class"),
        ("filename, leaf\na.jpg, 1\n", "should begin with the line"),
        ("Pixel Value, Class\n0, leaf\n0, stem\n", "the value 0 stands for two classes"),
        ("Pixel Value, Class\n0, leaf\n1, leaf\n", "each once"),
        ("Pixel Value, Class\n", "class names should be one or more"),
    ],
)
def test_damaged_tables_are_told(tmp_path, table, told):
    with pytest.raises(DataError, match=r"_classes\.csv") as error:
        read(roboflow(tmp_path, table))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_tables_of_parts_that_differ_are_told(tmp_path):
    root = roboflow(tmp_path)
    (root / "valid/_classes.csv").write_text(CSV.replace("stem", "root"))
    with pytest.raises(DataError, match=r"valid/_classes\.csv.* other classes than .*_classes\.csv"):
        read(root)


def test_a_list_of_ones_own_goes_before_the_table(tmp_path):
    root = roboflow(tmp_path)
    (root / "classes.txt").write_text("a\nb\nc\n")
    assert read(root).classes == ("a", "b", "c")


def test_an_export_is_trained_and_its_test_part_scored(tmp_path):
    root = roboflow(tmp_path / "export")
    given = [*OWN, "method=supervised", f"dataset.root={root}"]
    run = dmtc.train(dmtc.compose(given), tmp_path / "run")
    assert run.results["test"]["images"] == COUNTS["test"]
    assert list(run.results["per_class_iou"]) == ["background", "left leaf", "stem"]


COLORS = {"background": (0, 0, 0), "leaf": (220, 20, 60), "stem": (0, 128, 255)}
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nleaf:220,20,60::\nstem:0,128,255::\n"
CLASS_DICT = "name,r,g,b\nbackground,0,0,0\nleaf,220,20,60\nstem,0,128,255\n"


def colored(root: Path, name: str, table: str, border: tuple[int, int, int] = (224, 224, 192)) -> Path:
    """Masks in colors, with the table that names them, and a border in the color of VOC's."""
    for i in range(6):
        mask = np.array([*COLORS.values(), border], np.uint8).repeat(10, 0)[:, None].repeat(40, 1)
        save(root / f"images/{i}.png", mask)
        save(root / f"masks/{i}.png", mask)
    (root / name).write_text(table)
    return root


@pytest.mark.parametrize(
    ("name", "table"),
    [("labelmap.txt", LABELMAP), ("masks/labelmap.txt", LABELMAP), ("class_dict.csv", CLASS_DICT)],
)
def test_tables_of_colors_name_the_classes(tmp_path, name, table):
    dataset = read(colored(tmp_path, name, table))
    assert dataset.classes == tuple(COLORS)
    assert [tuple(color) for color in dataset.palette] == list(COLORS.values())
    assert dataset.mask(dataset.val[0])[::10, 0].tolist() == [0, 1, 2, 255]


@pytest.mark.parametrize("name", ["labelmap.txt", "class_dict.csv"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"leaf": "background"}, "given twice"),
        ({"220": "0", "20": "0", "60": "0"}, "given twice"),
        ({"220": "320"}, "should be"),
        ({"leaf": ""}, "should be"),
        ({"#": "", "name": ""}, "should b"),
    ],
)
def test_tables_of_colors_that_are_wrong_are_told(tmp_path, name, change, told):
    table = LABELMAP if name.endswith("txt") else CLASS_DICT
    for old, new in change.items():
        table = table.replace(old, new)
    with pytest.raises(DataError, match=f"{name}.*{told}"):
        read(colored(tmp_path, name, table))


def test_a_table_of_colors_is_a_file_of_classes_too(tmp_path):
    root = colored(tmp_path / "data", "labelmap.txt", "leaf:0,0,0::\n")
    (tmp_path / "class_dict.csv").write_text(CLASS_DICT)
    assert read(root, classes=str(tmp_path / "class_dict.csv")).classes == tuple(COLORS)


def test_label_files_in_place_of_masks_are_told_with_the_job_that_converts_them(tmp_path):
    save(tmp_path / "images/a.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/a.json").write_text("{}")
    with pytest.raises(DataError, match=r"holds nothing; 1 file in .*\(\.json\); if they are labels .* job=convert"):
        read(tmp_path)


@pytest.mark.parametrize("train_ids", [False, True])
def test_a_tree_like_cityscapes(tmp_path, train_ids):
    dataset = read(write_cityscapes(tmp_path, train_extra=2, train_ids=train_ids))
    kind = "labelTrainIds" if train_ids else "labelIds"
    assert [len(ids) for ids in (dataset.masked, dataset.unmasked, dataset.val)] == [4, 2, 2]
    for id in dataset.masked + dataset.val:
        assert dataset.masks[id].name == f"{Path(id).name.removesuffix('_leftImg8bit')}_gtFine_{kind}.png"
    assert len(dataset.test) == (0 if train_ids else 1)
    assert not {id for id in dataset.images if "augsburg" in id} - set(dataset.unmasked)
    assert any(f"dataset.mask_suffix=_gtFine_{kind}" in note for note in dataset.notes)


def test_the_same_tree_part_by_part(tmp_path):
    flat = write_cityscapes(tmp_path / "flat", test=0)
    for kind in ("leftImg8bit", "gtFine"):
        for part in ("train", "val"):
            place = tmp_path / "own" / part / kind
            place.parent.mkdir(parents=True, exist_ok=True)
            (flat / kind / part).rename(place)
    dataset = read(tmp_path / "own")
    assert [len(ids) for ids in (dataset.masked, dataset.val)] == [4, 2]
    assert all(path.name.endswith("_gtFine_labelIds.png") for path in dataset.masks.values())


def test_masks_of_several_kinds_stay_ambiguous_elsewhere(tmp_path):
    """Only the names of Cityscapes say which kind of mask holds the classes."""
    for index in range(3):
        save(tmp_path / f"images/{index}.png", np.zeros((8, 8, 3), np.uint8))
        for kind in ("seg", "instances"):
            save(tmp_path / f"masks/{index}_{kind}.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(DataError, match="is it"):
        read(tmp_path)
