"""Parts by the names of folders and lists: what is scored is not trained on, and what is called test never is."""

import os
import random

import pytest

from dmtc.core.errors import DataError
from dmtc.data.part_names import part_of, part_of_id
from empty_trees import build, roles, touch

NAMES = {
    "train": ["train", "Training", "TRAIN", "trainval", "train2017", "images_train", "trn"],
    "val": ["val", "VAL", "Val", "valid", "validation", "Validation", "eval", "dev", "val_images", "valSet"],
    "test": ["test", "Test", "TESTING", "testing", "holdout", "hold_out", "Held-Out", "test_A", "testset", "test2017"],
    "unlabelled": ["unlabelled", "Unlabeled", "unlabeled_images"],
    None: ["images", "Val Gardena", "latest", "contest", "day 1", "evaluate", "trains", "more", "devices", "validity"],
}
CASES = [(part, name) for part, names in NAMES.items() for name in names]


@pytest.mark.parametrize(("part", "name"), CASES, ids=[name for _, name in CASES])
def test_names_of_parts(part, name):
    assert part_of(name) == part


def test_a_test_folder_counts_wherever_it_stands():
    assert part_of_id("train/test/x") == part_of_id("test/train/x") == part_of_id("a/Test/b/x") == "test"
    assert part_of_id("val/train/x") == "val"
    assert part_of_id("test") is None


def pair(part, name, layout):
    """Image and mask of a name in a part."""
    if layout == "inside":
        return f"images/{part}/{name}.jpg", f"masks/{part}/{name}.png"
    if layout == "around":
        return f"{part}/images/{name}.jpg", f"{part}/masks/{name}.png"
    if layout == "joined":
        return f"{part}_images/{name}.jpg", f"{part}_masks/{name}.png"
    return f"{part}/{name}.jpg", f"{part}/{name}_mask.png"


LAYOUTS = ["inside", "around", "joined", "beside"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("Training", "Validation", "Testing"), ("TRAIN", "VALID", "HOLDOUT")],
)
def test_parts_at_either_level(tmp_path, layout, train, val, test):
    for part, count in ((train, 3), (val, 2), (test, 2)):
        touch(tmp_path, [file for index in range(count) for file in pair(part, f"{part}{index}", layout)])
    dataset = build(tmp_path)
    found = roles(dataset)
    assert [len(found[role]) for role in ("labelled", "unlabelled", "val", "test")] == [3, 0, 2, 2]
    assert all(part_of_id(id) == "test" and id in dataset.masks for id in found["test"])
    notes = "\n".join(dataset.notes)
    assert "validation: the 2 images of " in notes
    assert "test: the 2 images of " in notes
    assert "never trained on, scored once at the end" in notes


@pytest.mark.parametrize("layout", ["inside", "around"])
def test_spelling_may_differ_between_images_and_masks(tmp_path, layout):
    for image, mask in (("Train", "training"), ("VAL", "valid"), ("test", "Testing")):
        for index in range(2):
            touch(tmp_path, [pair(image, f"p{index}", layout)[0], pair(mask, f"p{index}", layout)[1]])
    if layout == "around":
        for image, mask in (("Train", "training"), ("VAL", "valid"), ("test", "Testing")):
            os.rename(tmp_path / mask / "masks", tmp_path / image / "Labels")
            os.rename(tmp_path / image / "images", tmp_path / image / "Images")
    assert [len(ids) for ids in roles(build(tmp_path)).values()] == [2, 0, 2, 2]


def test_test_images_without_masks_are_kept_out(tmp_path):
    touch(tmp_path, [file for index in range(5) for file in pair("train", f"{index}", "inside")])
    touch(tmp_path, ["images/test/x.jpg", "images/test/deep/y.jpg", "holdout/images/z.jpg"])
    dataset = build(tmp_path)
    assert dataset.test == ()
    assert len(dataset.train) == 4
    assert any("2 images of" in note or "3 images of" in note for note in dataset.notes if note.startswith("test"))
    assert any("no masks: they are kept out" in note for note in dataset.notes)
    touch(tmp_path, ["masks/test/x.png"])
    dataset = build(tmp_path)
    assert dataset.test == ("test/x",)
    assert any("2 of them have no mask and are only kept out" in note for note in dataset.notes)


def test_images_in_no_part_are_trained_on_and_told(tmp_path):
    touch(tmp_path, [file for part in ("train", "val") for file in pair(part, "1", "inside")])
    touch(tmp_path, ["images/more/u.jpg"])
    dataset = build(tmp_path)
    assert dataset.unmasked == ("more/u",)
    assert "training: also 1 images in no folder named after a part: more/u" in dataset.notes


def test_folders_beside_parts_at_the_first_level_are_told(tmp_path):
    touch(tmp_path, [file for part in ("train", "val", "sunny") for file in pair(part, "1", "around")])
    touch(tmp_path, ["notes/read.me"])
    dataset = build(tmp_path)
    assert sorted(dataset.images) == ["train/1", "val/1"]
    told = [note for note in dataset.notes if note.startswith("kept out")]
    assert told == [
        f"kept out: {tmp_path / 'sunny'}, not named after a part; dataset.unlabelled=DIR would train on one"
    ]


def test_folders_called_unlabelled(tmp_path):
    """At either level; their masks, if there are any, are not used."""
    touch(tmp_path, [file for part in ("train", "val", "unlabeled") for file in pair(part, "1", "inside")])
    touch(tmp_path, ["unlabelled/2.jpg"])
    dataset = build(tmp_path)
    assert dataset.unmasked == ("unlabeled/1", "unlabelled/2")
    assert dataset.masked == ("train/1",)


def test_only_what_dataset_unlabelled_names_is_trained_on_though_called_test(tmp_path):
    touch(tmp_path, [file for part in ("train", "val", "test") for file in pair(part, "1", "inside")])
    touch(tmp_path, ["images/test/2.jpg", "other/test/3.jpg", "other/4.jpg"])
    for around in (tmp_path / "images", tmp_path / "images/train"):
        assert roles(build(tmp_path, unlabelled=around))["unlabelled"] == set()
        assert build(tmp_path, unlabelled=around).test == ("test/1",)
    found = roles(build(tmp_path, unlabelled=tmp_path / "other"))
    assert (found["unlabelled"], found["test"]) == ({"other/4"}, {"test/1"})
    dataset = build(tmp_path, unlabelled=tmp_path / "images/test")
    assert roles(dataset) == {
        "labelled": {"train/1"},
        "unlabelled": {"test/1", "test/2"},
        "val": {"val/1"},
        "test": set(),
    }
    assert any("trained on, as dataset.unlabelled says" in note for note in dataset.notes)


def test_a_link_to_a_test_picture_is_not_trained_on(tmp_path):
    touch(tmp_path, [file for part in ("train", "val", "test") for file in pair(part, "1", "inside")])
    (tmp_path / "links").mkdir()
    for folder in (tmp_path / "links", tmp_path / "images/train"):
        os.link(tmp_path / "images/test/1.jpg", folder / "copy.jpg")
    assert roles(build(tmp_path, unlabelled=tmp_path / "links"))["unlabelled"] == set()
    assert any("same files as scored ones" in note for note in build(tmp_path).notes)


@pytest.mark.parametrize(
    ("train", "val", "test"), [("train.txt", "val.txt", "test.txt"), ("Train.TXT", "VALID.txt", "Testing.txt")]
)
@pytest.mark.parametrize("folder", [".", "splits", "ImageSets/Segmentation"])
def test_lists_of_parts(tmp_path, train, val, test, folder):
    touch(tmp_path, [f"{kind}/{index}.png" for kind in ("images", "masks") for index in range(8)])
    touch(tmp_path, ["images/8.png"])
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name, ids in ((train, "0 1 2"), (val, "3 4"), (test, "5 6")):
        (tmp_path / folder / name).write_text("\n".join(f"images/{id}.png" for id in ids.split()))
    dataset = build(tmp_path)
    assert roles(dataset) == {"labelled": {*"012"}, "unlabelled": {"8"}, "val": {*"34"}, "test": {*"56"}}
    assert "kept out: 1 images with masks that no list names: 7" in dataset.notes
    (tmp_path / folder / train).unlink()
    assert roles(build(tmp_path))["labelled"] == {*"0127"}


def test_settings_come_before_lists_and_lists_before_folders(tmp_path):
    """What is called test stays out, also where something else is scored."""
    touch(
        tmp_path, [file for part in ("train", "val", "test") for i in range(3) for file in pair(part, f"{i}", "inside")]
    )
    (tmp_path / "val.txt").write_text("train/0\n")
    (tmp_path / "test.txt").write_text("test/0\n")
    dataset = build(tmp_path)
    assert roles(dataset) == {
        "labelled": {"train/1", "train/2"},
        "unlabelled": set(),
        "val": {"train/0"},
        "test": {"test/0"},
    }
    assert sum(note.startswith("kept out: ") for note in dataset.notes) == 2
    (tmp_path / "own.txt").write_text("train/1\n")
    (tmp_path / "held.txt").write_text("train/2\ntest/1\n")
    dataset = build(tmp_path, val=tmp_path / "own.txt", test=tmp_path / "held.txt")
    assert roles(dataset) == {
        "labelled": {"train/0"},
        "unlabelled": set(),
        "val": {"train/1"},
        "test": {"train/2", "test/1"},
    }
    dataset = build(tmp_path, val=tmp_path / "images/test", test=tmp_path / "images/val")
    assert set(dataset.val) == {"test/0", "test/1", "test/2"}
    assert set(dataset.test) == {"val/0", "val/1", "val/2"}


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (
            {"val.txt": "train/0", "test.txt": "train/0"},
            r"1 images are listed in both .*val\.txt and .*test\.txt: train/0",
        ),
        ({"train.txt": "train/0", "val.txt": "train/0"}, r"listed in both .*train\.txt and .*val\.txt"),
        ({"train.txt": "train/0\ntest/0"}, r"train\.txt lists 1 images in a folder called test: test/0"),
        ({"val.txt": "test/0"}, r"val\.txt lists 1 images in a folder called test: test/0"),
        ({"test.txt": "nothing"}, r"test\.txt, line 1: 'nothing' is no image of this data set"),
        ({"test.txt": ""}, r"test\.txt: no ids in it"),
    ],
)
def test_an_image_in_two_parts_is_told_in_one_line(tmp_path, lists, message):
    touch(
        tmp_path, [file for part in ("train", "val", "test") for i in range(2) for file in pair(part, f"{i}", "inside")]
    )
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message) as told:
        build(tmp_path)
    assert "\n" not in str(told.value)


def test_a_folder_to_test_on(tmp_path):
    """With masks in a folder of their own, or beside the images, as for validation."""
    touch(tmp_path, [f"{kind}/{index}.png" for kind in ("images", "masks") for index in range(4)])
    touch(tmp_path, ["far/images/x.png", "far/masks/x.png", "far/images/y.png"])
    touch(tmp_path, ["near/x.png", "near/x_mask.png", "near/y.png", "near/y_mask.png"])
    assert build(tmp_path, test=tmp_path / "far").test == ("far/x",)
    for part in ("val", "test"):
        dataset = build(tmp_path, **{part: tmp_path / "near"})
        assert getattr(dataset, part) == ("near/x", "near/y")


def test_a_layout_that_is_not_understood_is_told_with_what_to_set(tmp_path):
    touch(tmp_path, ["photos and masks/a.png"])
    options = (
        r"dataset\.images=DIR dataset\.masks=DIR dataset\.val=DIR, and .*train and .*val may each hold images and masks"
    )
    with pytest.raises(DataError, match=f"there is no folder .*images; .*{options}"):
        build(tmp_path)
    touch(tmp_path, ["archive/images/a.png", "archive/labels/a.png"])
    with pytest.raises(DataError, match=r"is it dataset\.root=.*archive\?"):
        build(tmp_path)


PARTS = ["train", "Val", "validation", "test", "TEST", "testing", "hold-out", "unlabelled", "sunny", ""]


@pytest.mark.parametrize("seed", range(40))
def test_in_random_trees_nothing_called_test_is_trained_on(tmp_path, seed):
    rng = random.Random(seed)
    layout = rng.choice(LAYOUTS)
    closed = set()
    for index in range(rng.randint(6, 30)):
        part = rng.choice(PARTS) if layout != "joined" else rng.choice(PARTS[:7])
        deep = rng.choice(["", "", "city/", "Test/", "testing/deep/"])
        files = pair(part or "any", f"{deep}{index}", layout)
        if layout == "joined" and not part:
            continue
        touch(tmp_path, files if rng.random() < 0.7 else files[:1])
        if part_of(part) == "test" or deep.startswith(("T", "t")):
            closed.add(files[0])
    touch(tmp_path, [file for i in range(3) for file in pair("train", f"base{i}", layout)])
    touch(tmp_path, pair("val", "base", layout))
    names = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.jpg")]
    if rng.random() < 0.5:
        listed = rng.sample(sorted(set(names) - closed), 2)
        (tmp_path / "test.txt").write_text(
            "".join(f"{name}\n" for name in listed if "val" not in name.lower()) or listed[0]
        )
        closed |= {name for name in listed if name in (tmp_path / "test.txt").read_text()}
    unlabelled = rng.choice([None, tmp_path / "images", tmp_path / "train"])
    try:
        dataset = build(tmp_path, unlabelled=unlabelled if unlabelled and unlabelled.is_dir() else None)
    except DataError as error:
        told = str(error)
        # A part whose images have masks only in part, or none to learn from, is refused; nothing else is.
        reasons = ("without a mask file", "need one image with a mask", "have no mask", "'any/", "'sunny/")
        assert any(text in told for text in reasons), told
        return
    roles(dataset)
    used = {dataset.images[id].relative_to(tmp_path).as_posix() for id in (*dataset.train, *dataset.val)}
    assert len(used) >= 2
    assert not used & closed
    assert len({dataset.masks[id] for id in dataset.masks}) == len(dataset.masks)
