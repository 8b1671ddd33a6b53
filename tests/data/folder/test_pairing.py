"""Names of images and masks: the pairs that are beyond doubt are made, and no wrong one ever."""

import random
import string

import pytest

from dmtc.core.errors import ConfigError, DataError
from dmtc.data.folder.guessing import guess
from dmtc.data.folder.pairing import Pairing
from empty_trees import build, touch

KINDS = {
    "DeepGlobe": ("{}_sat.jpg", "{}_mask.png", ["100", "101", "2"], ["image_suffix=_sat", "mask_suffix=_mask"]),
    "Potsdam": ("top_{}_RGB.tif", "top_{}_label.tif", ["2_10", "2_11"], ["image_suffix=_RGB", "mask_suffix=_label"]),
    "Cityscapes": (
        "ulm/{}_leftImg8bit.png",
        "ulm/{}_gtFine_labelIds.png",
        ["ulm_000000_000019", "ulm_000001_000019"],
        ["image_suffix=_leftImg8bit", "mask_suffix=_gtFine_labelIds"],
    ),
    "DRIVE": (
        "{}_training.tif",
        "{}_manual1.png",
        ["21", "22", "30"],
        ["image_suffix=_training", "mask_suffix=_manual1"],
    ),
    "prefixes": ("img_{}.png", "mask_{}.png", ["1", "2", "10", "11"], ["image_prefix=img_", "mask_prefix=mask_"]),
    "inside": ("{}_zones__{}.png", "{}__{}.png", ["A", "B"], ["pairing=[*_zones_*,*_*]"]),
    "both ends": (
        "IMG_{}_RGB.png",
        "LBL_{}_label.png",
        ["1", "12"],
        ["image_prefix=IMG_", "image_suffix=_RGB", "mask_prefix=LBL_", "mask_suffix=_label"],
    ),
    "suffix": ("{}.jpg", "{}-seg.png", ["cat", "dog"], ["mask_suffix=-seg"]),
    "image suffix": ("{}_image.jpg", "{}.png", ["cat", "dog"], ["image_suffix=_image"]),
}


def expected(image, mask, cores):
    stems = [(image.replace("{}", core), mask.replace("{}", core)) for core in cores]
    return {one.rpartition(".")[0]: other for one, other in stems}


def pairs(dataset, folder):
    return {id: path.relative_to(folder).as_posix() for id, path in dataset.masks.items()}


@pytest.mark.parametrize(("image", "mask", "cores", "settings"), KINDS.values(), ids=KINDS)
def test_kinds_of_names(tmp_path, image, mask, cores, settings):
    """Found without a word, and the line says how to say it; with the settings that it says, without a word."""
    wanted = expected(image, mask, cores)
    touch(tmp_path / "masks", wanted.values())
    touch(tmp_path / "images", [image.replace("{}", core) for core in [*cores, "77", "78"]])
    dataset = build(tmp_path)
    assert pairs(dataset, tmp_path / "masks") == wanted
    assert len(dataset.images) == len(cores) + 2
    note = f"names: {' '.join(f'dataset.{one}' for one in settings)}, because each of the {len(cores)} masks"
    assert dataset.notes[0].startswith(note)
    given = {key: value for key, _, value in (one.partition("=") for one in settings)}
    if "pairing" in given:
        given["pairing"] = given["pairing"].strip("[]").split(",")
    again = build(tmp_path, **given)
    assert pairs(again, tmp_path / "masks") == wanted
    assert not any(one.startswith("names: ") for one in again.notes)
    kept = build(tmp_path, pairing=dataset.found["pairing"])
    assert pairs(kept, tmp_path / "masks") == wanted


@pytest.mark.parametrize("kind", ["DeepGlobe", "prefixes", "suffix"])
def test_kinds_of_names_in_one_folder(tmp_path, kind):
    image, mask, cores, _ = KINDS[kind]
    wanted = expected(image, mask, cores)
    touch(tmp_path, wanted.values())
    touch(tmp_path, [image.replace("{}", core) for core in cores])
    for dataset in (build(images=tmp_path, masks=tmp_path), build(tmp_path)):
        assert pairs(dataset, tmp_path) == wanted
        assert sorted(dataset.images) == sorted(wanted)


def test_leading_zeros(tmp_path):
    """Also where some names are equal; and where two images could be meant, none is."""
    touch(tmp_path, [f"images/{i}.png" for i in range(1, 121)])
    touch(tmp_path, [f"masks/{i:03}.png" for i in range(1, 121)])
    dataset = build(tmp_path)
    assert pairs(dataset, tmp_path / "masks") == {f"{i}": f"{i:03}.png" for i in range(1, 121)}
    assert dataset.notes[0] == "names: 99 masks differ from their images in leading zeros or the spelling of a part"
    touch(tmp_path, ["images/01.png"])
    assert {"1", "01"}.isdisjoint(build(tmp_path).masks)


def test_part_of_a_setting_is_completed(tmp_path):
    touch(tmp_path, [file for i in range(3) for file in (f"images/{i}_sat.jpg", f"masks/{i}_mask.png")])
    assert len(build(tmp_path, mask_suffix="_mask").masks) == 3
    with pytest.raises(
        DataError, match=r"is it dataset\.image_suffix=_sat dataset\.mask_suffix=_mask \(3 of 3 masks\)\?"
    ):
        build(tmp_path, mask_suffix="_label")


@pytest.mark.parametrize(
    ("images", "masks", "hint"),
    [
        (
            ["x_0", "x_1"],
            ["x_0_color", "x_0_ids", "x_1_color", "x_1_ids"],
            "mask_suffix=_ids .* or .*mask_suffix=_color",
        ),
        (["left_1", "right_1", "left_2", "right_2"], ["gt_1", "gt_2"], "image_prefix=left_ .*mask_prefix=gt_"),
        (
            ["1_im", "2_im"],
            ["1_gt", "2_gt", "3_gt"],
            r"dataset\.image_suffix=_im dataset\.mask_suffix=_gt \(2 of 3 masks\)",
        ),
        (["a"], ["a_mask"], r"dataset\.mask_suffix=_mask \(1 of 1 masks\)"),
        (["cat", "dog"], ["tree", "lake"], r"dataset\.pairing=\[\*_sat,\*_mask\] says how names differ"),
        (["img_10", "img_11"], ["mask_0", "mask_1"], "says how names differ"),
        (["t0_0", "t1_0"], ["t0_1", "t1_1"], "says how names differ"),
    ],
)
def test_what_is_in_doubt_is_told_with_what_to_set(tmp_path, images, masks, hint):
    touch(tmp_path, [*(f"images/{name}.png" for name in images), *(f"masks/{name}.png" for name in masks)])
    with pytest.raises(DataError, match=f"no image has a mask: .*{hint}") as told:
        build(tmp_path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairing": ["*_a"]}, "should be two patterns"),
        ({"pairing": ["*_a_*", "*_b"]}, r"each with as many \*"),
        ({"pairing": ["a", "b"]}, r"each with as many \*"),
        ({"pairing": ["**", "**"]}, "not side by side"),
        ({"pairing": ["x/*", "y/*"]}, "without folders"),
        ({"pairing": ["*_a", "*_b"], "mask_suffix": "_c"}, "does not fit"),
        ({"mask_prefix": "a/b"}, r"dataset\.mask_prefix and \.mask_suffix are pieces of a file's name"),
    ],
)
def test_patterns_that_say_nothing(tmp_path, changes, message):
    touch(tmp_path, ["images/1.png", "masks/1.png"])
    with pytest.raises(ConfigError, match=message) as told:
        build(tmp_path, **changes)
    assert "\n" not in str(told.value)


def test_a_mask_never_has_two_images_nor_an_image_two_masks(tmp_path):
    touch(tmp_path, ["images/a_x.png", "images/b_x.png", "masks/a.png", "more/a.png"])
    folders = [str(tmp_path / "masks"), str(tmp_path / "more")]
    with pytest.raises(DataError, match=r"masks/a\.png and .*more/a\.png are masks of one image, a_x; keep one"):
        build(tmp_path, image_suffix="_x", masks=folders)
    touch(tmp_path, ["others/a_x.png", "third/c_x.png"])
    with pytest.raises(DataError, match=r"masks/a\.png fits images/a_x, others/a_x; name as many folders"):
        build(images=[str(tmp_path / name) for name in ("images", "others", "third")], masks=folders, image_suffix="_x")
    touch(tmp_path, ["masks/c.png", "masks/c.tif"])
    with pytest.raises(DataError, match=r"c\.png and .*c\.tif have the same id 'c'"):
        build(tmp_path)


def test_nothing_is_guessed_where_a_mask_fits_two_images():
    assert len(guess(["img_1", "img_2"], ["mask_1", "mask_2"], Pairing())) == 1
    assert guess(["img_1", "img_01", "img_2"], ["mask_1", "mask_2"], Pairing()) == []


WORDS = ["img", "mask", "sat", "label", "x", "gt", "_", "-", "__", "7", "2024", "A", "scene"]


@pytest.mark.parametrize("seed", range(60))
def test_random_names_are_paired_rightly_or_not_at_all(seed):
    """Whatever stands around what tells images apart; for masks whose images are not there, nothing is guessed."""
    rng = random.Random(seed)
    frames = ["".join(rng.choices(WORDS, k=rng.randint(0, 2))) for _ in range(4)]
    kind = rng.choice(["numbers", "words", "both"])
    count = rng.randint(2, 12)
    cores = {
        "numbers": [str(i) for i in rng.sample(range(1, 40), count)],
        "words": ["".join(rng.choices(string.ascii_lowercase, k=4)) for _ in range(count)],
        "both": [f"{rng.choice('abc')}{i}" for i in rng.sample(range(1, 40), count)],
    }[kind]
    images = {f"{frames[0]}{core}{frames[1]}": core for core in dict.fromkeys(cores)}
    masks = {f"{frames[2]}{core}{frames[3]}": core for core in dict.fromkeys(cores)}
    few = dict(list(masks.items())[: rng.randint(2, len(masks))])
    found = guess(list(images), list(few), Pairing())
    if len(found) == 1:
        of = {found[0].image_key(id, loose=True): id for id in images}
        for mask, core in few.items():
            assert images[of[found[0].mask_key(mask, loose=True)]] == core
    strangers = [f"{frames[2]}{core}{frames[3]}" for core in ("zebra99", "yak98")]
    assert guess(list(images), strangers, Pairing()) == []
