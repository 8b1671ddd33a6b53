"""Pictures in several folders: how they are named and paired, and that nothing is trained on that is scored."""

import os
from pathlib import Path

import numpy as np
import pytest

from dmtc.core.errors import DataError
from dmtc.data import DATASETS
from dmtc.data.folder.places import distinct_beginnings
from trees import FOLDER_ARGUMENTS, save

MASK = np.arange(48, dtype=np.uint8).reshape(6, 8) % 3


def read(**changes):
    given = {key: str(value) if isinstance(value, Path) else value for key, value in changes.items()}
    return DATASETS.build({**FOLDER_ARGUMENTS, **given})


def pictures(folder: Path, names: list[str]) -> list[Path]:
    for name in names:
        save(folder / f"{name}.png", np.random.default_rng(len(name)).integers(0, 256, (6, 8, 3), np.uint8))
    return [folder / f"{name}.png" for name in names]


def masks(folder: Path, names: list[str]) -> None:
    for name in names:
        save(folder / f"{name}.png", MASK)


def disjoint(dataset) -> None:
    """No file is both trained on and scored, under whatever name."""
    files = [{dataset.images[id].resolve() for id in ids} for ids in (dataset.train, dataset.val)]
    assert dataset.val
    assert not files[0] & files[1]
    assert len(files[0]) == len(dataset.train)


def test_several_folders_belong_together_one_by_one(tmp_path):
    for day in ("monday", "friday"):
        pictures(tmp_path / day / "images", ["a", "deep/b", "c"])
        masks(tmp_path / day / "masks", ["a", "deep/b"])
    days = [tmp_path / "monday", tmp_path / "friday"]
    dataset = read(images=[str(day / "images") for day in days], masks=[str(day / "masks") for day in days])
    assert sorted(dataset.images) == sorted(f"{day.name}/images/{id}" for day in days for id in ("a", "deep/b", "c"))
    assert dataset.masks["friday/images/deep/b"] == tmp_path / "friday/masks/deep/b.png"
    assert dataset.unmasked == ("friday/images/c", "monday/images/c")
    disjoint(dataset)


def test_one_folder_of_masks_may_serve_several_of_images(tmp_path):
    pictures(tmp_path / "one", ["a", "b"])
    pictures(tmp_path / "two", ["c", "d"])
    masks(tmp_path / "masks", ["a", "c", "d"])
    dataset = read(images=[str(tmp_path / "one"), str(tmp_path / "two")], masks=tmp_path / "masks")
    assert set(dataset.masks) == {"one/a", "two/c", "two/d"}
    pictures(tmp_path / "two", ["a"])
    with pytest.raises(DataError, match=r"masks/a\.png fits one/a, two/a; name as many folders"):
        read(images=[str(tmp_path / "one"), str(tmp_path / "two")], masks=tmp_path / "masks")


def test_several_folders_of_masks_for_one_of_images(tmp_path):
    pictures(tmp_path / "images", ["a", "b", "c"])
    masks(tmp_path / "mine", ["a", "b"])
    masks(tmp_path / "yours", ["c"])
    dataset = read(images=tmp_path / "images", masks=[str(tmp_path / "mine"), str(tmp_path / "yours")])
    assert len(dataset.masks) == 3
    masks(tmp_path / "yours", ["a"])
    with pytest.raises(DataError, match="are masks of one image, a; keep one"):
        read(images=tmp_path / "images", masks=[str(tmp_path / "mine"), str(tmp_path / "yours")])


def test_unlabelled_images_from_another_place(tmp_path):
    pictures(tmp_path / "images", ["a", "b", "c"])
    masks(tmp_path / "masks", ["a", "b", "c"])
    pictures(tmp_path / "more", ["a", "night/d"])
    dataset = read(root=tmp_path, unlabelled=tmp_path / "more")
    assert dataset.unmasked == ("more/a", "more/night/d")
    assert f"unlabelled: 2 further images from {tmp_path / 'more'}" in dataset.notes
    pictures(tmp_path / "elsewhere/more", ["e"])
    several = read(root=tmp_path, unlabelled=[str(tmp_path / "more"), str(tmp_path / "elsewhere/more")])
    assert len(several.unmasked) == 3
    assert len(set(several.unmasked)) == 3


def test_a_picture_is_never_labelled_or_scored_and_unlabelled_too(tmp_path):
    """Whichever way it is reached: the same folder, one around it, links."""
    files = pictures(tmp_path / "images", ["a", "b", "c", "d"])
    masks(tmp_path / "masks", ["a", "b", "c"])
    (tmp_path / "links").mkdir()
    for file in files:
        os.symlink(file, tmp_path / "links" / f"linked_{file.name}")
    pictures(tmp_path / "links", ["new"])
    for unlabelled in (tmp_path / "images", tmp_path / "links"):
        dataset = read(root=tmp_path, unlabelled=unlabelled)
        disjoint(dataset)
        assert set(dataset.unmasked) == {"d"} | ({"links/new"} if unlabelled.name == "links" else set())


def test_a_folder_to_validate_on(tmp_path):
    pictures(tmp_path / "images", ["a", "b", "c"])
    masks(tmp_path / "masks", ["a", "b", "c"])
    own = pictures(tmp_path / "test/images", ["x", "y"])
    masks(tmp_path / "test/masks", ["x", "y"])
    dataset = read(root=tmp_path, val=tmp_path / "test")
    assert dataset.val == ("test/x", "test/y")
    assert dataset.masked == ("a", "b", "c")
    os.symlink(own[0], tmp_path / "images/again.png")
    dataset = read(root=tmp_path, val=tmp_path / "test", unlabelled=tmp_path / "test/images")
    disjoint(dataset)
    assert set(dataset.images) == {"a", "b", "c", "test/x", "test/y"}
    assert any("1 of them are also among the training images" in note for note in dataset.notes)
    (tmp_path / "test/masks/y.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 images in .* have no mask: y"):
        read(root=tmp_path, val=tmp_path / "test")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.99])
def test_held_out_images_are_never_trained_on(tmp_path, seed, fraction):
    pictures(tmp_path / "images", [f"{index}" for index in range(12)])
    masks(tmp_path / "masks", [f"{index}" for index in range(10)])
    dataset = read(root=tmp_path, val_seed=seed, val_fraction=fraction)
    disjoint(dataset)
    assert set(dataset.val) <= set(dataset.masks)
    assert dataset.masked
    told = f"validation: {len(dataset.val)} of the 10 images with masks, held out at random"
    assert any(note.startswith(told) for note in dataset.notes)


def test_lists_of_validation_images_may_name_files(tmp_path):
    pictures(tmp_path / "images", ["a", "b.c", "d"])
    masks(tmp_path / "masks", ["a", "b.c", "d"])
    (tmp_path / "val.txt").write_text("b.c.png\nd\n")
    assert read(root=tmp_path).val == ("b.c", "d")


def test_masks_with_an_ending_of_their_own(tmp_path):
    pictures(tmp_path / "images", ["a", "b"])
    masks(tmp_path / "masks", ["a_mask", "b_mask"])
    assert set(read(root=tmp_path, mask_suffix="_mask").masks) == {"a", "b"}
    (tmp_path / "masks/stray_mask.png").write_bytes((tmp_path / "masks/a_mask.png").read_bytes())
    with pytest.raises(
        DataError, match=r"no image has a mask: .*; is it dataset\.mask_suffix=_mask \(2 of 3 masks\)\?"
    ):
        read(root=tmp_path)


def test_masks_beside_their_images(tmp_path):
    pictures(tmp_path, ["a", "b", "c"])
    masks(tmp_path, ["a_label", "b_label"])
    dataset = read(images=tmp_path, masks=tmp_path, mask_suffix="_label")
    assert set(dataset.images) == {"a", "b", "c"}
    assert set(dataset.masks) == {"a", "b"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": ["{root}/images", "{root}/nowhere"]}, "there is no folder .*nowhere; it should hold the images"),
        ({"images": ["{root}/images", "{root}/masks/../images"]}, "names the folder .* twice"),
        ({"images": []}, r"dataset\.images names no folder"),
        ({"unlabelled": "{root}/nowhere"}, r"nowhere; it should hold the unlabelled images \(dataset\.unlabelled\)"),
        ({"val": "{root}/images"}, "there is no folder .*images/images; it should hold the validation images"),
    ],
)
def test_folders_that_are_not_there(tmp_path, changes, message):
    pictures(tmp_path / "images", ["a", "b"])
    masks(tmp_path / "masks", ["a", "b"])

    def at(value):
        return [one.format(root=tmp_path) for one in value] if isinstance(value, list) else value.format(root=tmp_path)

    with pytest.raises(DataError, match=message) as caught:
        read(root=tmp_path, **{key: at(value) for key, value in changes.items()})
    assert "\n" not in str(caught.value)


def test_beginnings_tell_folders_apart():
    paths = [Path(path) for path in ("/data/one/images", "/data/two/images", "/data/photos")]
    assert distinct_beginnings(paths) == ["one/images/", "two/images/", "data/photos/"]
    assert distinct_beginnings(paths[:1]) == [""]
    assert distinct_beginnings(paths[:1], always=True) == ["images/"]
