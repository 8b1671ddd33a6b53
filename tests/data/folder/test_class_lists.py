"""classes.yaml: what it may say, where it is found, and what is wrong with it in one line."""

import numpy as np
import pytest

from dmtc.core.errors import DataError
from dmtc.data import DATASETS
from dmtc.data.folder.class_lists import read_class_list
from trees import FOLDER_ARGUMENTS, save

FULL = """
classes:
  - {name: ground, color: [0, 0, 0], value: 7}
  - {name: road, color: "#804080", value: 12}
ignore: 0
"""


def read(tmp_path, text, name="classes.yaml"):
    (tmp_path / name).write_text(text)
    return read_class_list(tmp_path / name)


def test_everything_at_once(tmp_path):
    classes = read(tmp_path, FULL)
    assert classes.names == ("ground", "road")
    assert classes.colors == [[0, 0, 0], [128, 64, 128]]
    assert classes.values == [7, 12]
    assert (classes.ignore_values, classes.ignore_colors) == ((0,), ())


def test_short_forms(tmp_path):
    assert read(tmp_path, "- sky\n- tree house\n").names == ("sky", "tree house")
    assert read(tmp_path, "classes: [sky, {name: tree}]\nignore: [255, 255, 255]\n").ignore_colors == ([255, 255, 255],)
    assert read(tmp_path, "sky\n\n tree \n", "classes.txt").names == ("sky", "tree")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no list of classes"),
        ("classes: sky\n", "no list of classes"),
        ("names: [sky]\n", "no list of classes"),
        ("classes: [sky\n", "did not find expected ','"),
        ("classes: [sky]\nignored: 0\n", "unknown key 'ignored'. Did you mean 'ignore'?"),
        ("classes: [{name: sky, colour: [0, 0, 0]}]\n", "unknown key 'colour' of class 0. Did you mean 'color'?"),
        ("classes: []\n", "one or more"),
        ("classes: [sky, sky]\n", "each once"),
        ("classes: [sky, yes]\n", "the name of class 1 should be text, in quotes if needed, but is True"),
        ("classes: [{color: [0, 0, 0]}]\n", "the name of class 0 should be text"),
        ("classes: [{name: a, color: [0, 0, 256]}]\n", "three numbers in 0..255"),
        ("classes: [{name: a, color: '#12345'}]\n", "three numbers in 0..255"),
        ("classes: [{name: a, value: -1}]\n", "the value of class 0 should be a number in 0..65535, but is -1"),
        ("classes: [{name: a, color: [0, 0, 0]}, b]\n", "some classes have a color and 'b' has none"),
        ("classes: [{name: a, value: 1}, {name: b, value: 1}]\n", "the value 1 stands for two classes"),
        ("classes: [a]\nignore: void\n", "ignore names 'void', which is none of the classes (a)"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path, text, message):
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert "classes.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def data(tmp_path):
    for index in range(4):
        save(tmp_path / f"images/{index}.png", np.full((4, 6, 3), index, np.uint8))
        save(tmp_path / f"masks/{index}.png", np.array([[7, 7, 12, 12, 0, 255]] * 4, np.uint8))
    return tmp_path


def build(root, **changes):
    return DATASETS.build({**FOLDER_ARGUMENTS, "root": str(root), **changes})


def test_a_file_in_the_root_is_found_and_settings_come_first(data):
    (data / "classes.yaml").write_text(FULL)
    (data / "classes.txt").write_text("one\ntwo\nthree\n")
    dataset = build(data)
    assert dataset.classes == ("ground", "road")
    assert dataset.palette.tolist() == [[0, 0, 0], [128, 64, 128]]
    np.testing.assert_array_equal(dataset.mask("0")[0], [0, 0, 1, 1, 255, 255])
    assert f"classes: 2 (ground, road), from {data / 'classes.yaml'}" in dataset.notes
    assert build(data, values=[12, 7]).mask("0")[0].tolist() == [1, 1, 0, 0, 255, 255]
    (data / "other.yaml").write_text(FULL.replace("ground", "floor"))
    assert build(data, classes=str(data / "other.yaml")).classes == ("floor", "road")


def test_without_a_root_it_is_looked_for_with_and_around_the_masks(data):
    (data / "classes.yaml").write_text(FULL)
    folders = {"images": str(data / "images"), "masks": str(data / "masks")}
    assert DATASETS.build({**FOLDER_ARGUMENTS, **folders}).classes == ("ground", "road")
    (data / "masks/classes.yml").write_text(FULL.replace("ground", "floor"))
    assert DATASETS.build({**FOLDER_ARGUMENTS, **folders}).classes == ("floor", "road")


def test_a_file_that_is_not_there(data):
    with pytest.raises(DataError, match=r"nowhere\.yaml: cannot be read"):
        build(data, classes=str(data / "nowhere.yaml"))
