"""Lists of images: every layout gives the same ids to every setting that takes a list, or one line."""

import os

import pytest

from dmtc.core.errors import DataError
from dmtc.data.lists import read_ids
from dmtc.splits import SPLITS
from empty_trees import build, touch

LINES = {
    "ids": "{id}",
    "files": "{id}.png",
    "files in capitals": "{id}.PNG",
    "images": "images/{id}.png",
    "pairs": "images/{id}.png masks/{id}.png",
    "pairs with a tab": "images/{id}.png\tmasks/{id}.png",
    "pairs with a comma": "images/{id}.png,masks/{id}.png",
    "pairs of ids": "{id} {id}",
    "dots": "./{id}.png",
    "dots and folders": "./images/{id}.png",
    "from another folder": "../../data/images/{id}.png",
    "backslashes": "images\\{id}.png",
    "Windows": "C:\\data\\images\\{id}.png",
    "absolute": "{root}/images/{id}.png",
    "of another machine": "/mnt/disk/data/images/{id}.jpg",
    "quotes": '"images/{id}.png","masks/{id}.png"',
    "masks": "masks/{id}.png",
    "blanks around": "  {id}.png \t",
}
WRAPPED = {
    "plain": lambda text: text.encode(),
    "mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "Windows": lambda text: text.replace("\n", "\r\n").encode(),
    "PowerShell": lambda text: text.replace("\n", "\r\n").encode("utf-16"),
    "comments and empty lines": lambda text: f"# held out by hand\n\n{text}\n\n".encode(),
    "no end": lambda text: text.rstrip("\n").encode(),
}
ALL = {f"{line}, plain": (line, "plain") for line in LINES} | {f"pairs, {wrap}": ("pairs", wrap) for wrap in WRAPPED}
IDS = ["0", "city/1", "a photo"]


@pytest.fixture
def root(tmp_path):
    names = ["0", "city/1", "a photo", "3", "4"]
    return touch(tmp_path, [f"{kind}/{name}.png" for kind in ("images", "masks") for name in names])


@pytest.mark.parametrize(("line", "wrap"), ALL.values(), ids=ALL)
def test_every_setting_reads_the_same_lines(root, line, wrap):
    path = root / "list.csv"
    text = "".join(LINES[line].format(id=id, root=root) + "\n" for id in IDS)
    path.write_bytes(WRAPPED[wrap](text))
    dataset = build(root)
    known = set(dataset.images)
    assert read_ids(path, known) == tuple(IDS)
    assert build(root, val=path).val == tuple(sorted(IDS))
    assert build(root, test=path).test == tuple(sorted(IDS))
    spec = {"name": "files", "labelled": str(path), "unlabelled": None}
    split = SPLITS.build(spec, ids=sorted(known), unmasked=[], labels=None)
    assert set(split.labelled) == set(IDS)
    for name, part in (("val.txt", "val"), ("Test.txt", "test")):
        (root / name).write_bytes(path.read_bytes())
        assert getattr(build(root), part) == tuple(sorted(IDS))
        (root / name).unlink()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"0\nnowhere.png\n", "line 2: 'nowhere.png' is no image of this data set (1 of 2 entries are none)"),
        (b"0\n\nimages/0.png\n", "line 3: 'images/0.png' repeats line 1; remove one"),
        (b"# nothing\n\n", "no ids in it"),
        (b"", "no ids in it"),
        (b"0\n\xff\n", "not UTF-8 text (byte 2"),
        (b"0\0\n", "not UTF-8 text (it holds zero bytes)"),
        (b"../0\x1b[31m\n", "'../0\\x1b[31m' is no image"),
        (b"/\n", "'/' is no image"),
        (b"x" * 5000, f"'{117 * 'x'}...' is no image"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(root, text, message):
    path = root / "list.txt"
    path.write_bytes(text)
    for setting in ("val", "test"):
        with pytest.raises(DataError) as told:
            build(root, **{setting: path})
        assert f"{path}" in str(told.value)
        assert message in str(told.value)
        assert len(str(told.value).splitlines()) == 1


def test_pipes_and_devices_are_not_waited_for(root):
    os.mkfifo(root / "pipe")
    for path in (root / "pipe", "/dev/zero", "/dev/stdin"):
        with pytest.raises(DataError, match=r"not a regular file|cannot be read"):
            build(root, val=str(path))
    os.mkfifo(root / "test.txt")
    with pytest.raises(DataError, match="not a regular file"):
        build(root)


def test_a_path_in_one_part_never_stands_for_an_image_in_another(tmp_path):
    touch(tmp_path, [f"{kind}/{part}/1.png" for kind in ("images", "masks") for part in ("train", "day")])
    (tmp_path / "list.txt").write_text("images/val/1.png\n")
    with pytest.raises(DataError, match=r"is no image of this data set"):
        read_ids(tmp_path / "list.txt", {"train/1"})
    assert read_ids(tmp_path / "list.txt", {"night/1"}) == ("night/1",)


def test_an_id_that_begins_like_a_comment_or_holds_separators(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("#1\na,b\nc d.png e.png\n")
    assert read_ids(path, {"#1", "a,b", "c d", "a"}) == ("#1", "a,b", "c d")


def test_the_same_stem_in_two_parts_is_that_of_the_part(tmp_path):
    touch(
        tmp_path,
        [f"{kind}/{part}/{i}.png" for kind in ("images", "masks") for part in ("train", "val") for i in range(3)],
    )
    (tmp_path / "val.txt").write_text("1\n2.png\n")
    (tmp_path / "train.txt").write_text("1\n")
    dataset = build(tmp_path)
    assert (dataset.val, dataset.masked) == (("val/1", "val/2"), ("train/1",))


def test_names_without_what_all_images_have(tmp_path):
    touch(tmp_path, [file for i in range(4) for file in (f"images/{i}_sat.jpg", f"masks/{i}_mask.png")])
    (tmp_path / "val.txt").write_text("1\n2_sat.jpg 2_mask.png\n3_mask.png\n")
    assert build(tmp_path).val == ("1_sat", "2_sat", "3_sat")
