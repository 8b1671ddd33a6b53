import dataclasses
import inspect
import json
import random
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from dmtc.core.errors import ConfigError, DataError
from dmtc.splits import SPLITS, Split, dmt_split, list_sha256, parse_ratio
from registered import own_names

GOLDEN = Path(__file__).parents[1] / "golden"
PUBLISHED = json.loads((GOLDEN / "published_splits.json").read_text())
LISTS = ("voc_trainaug", "cityscapes_train")
PAIRS = [(name, pair) for name in LISTS for pair in PUBLISHED[name]]
IDS = [f"id{index:03d}" for index in range(80)]
UNMASKED = ["u1", "u0"]


def read_ids(name):
    return (GOLDEN / f"{name}_ids.txt").read_text().split()


def build(name, **arguments):
    runtime = {"ids": IDS, "unmasked": UNMASKED, "labels": lambda id: pytest.fail(f"opened the mask of {id}")}
    spec = {"name": name, **arguments}
    return SPLITS.build(spec, **{**runtime, **{k: spec.pop(k) for k in list(spec) if k in runtime}})


def test_there_are_33_published_pairs():
    assert len(PAIRS) == 33


@pytest.mark.parametrize(("name", "pair"), PAIRS)
@pytest.mark.parametrize("form", ["name", "exact text", "float"])
def test_published_splits(name, pair, form):
    expected = PUBLISHED[name][pair]
    label, _, fold = pair.partition(" fold ")
    ratio, _, exact = label.partition(" (ratio ")
    exact = exact.rstrip(")") or ratio.removeprefix("1/")
    ids = read_ids(name)
    random.Random(0).shuffle(ids)
    written = {"name": ratio, "exact text": f"1/{exact}", "float": 1 / float(exact)}[form]
    labelled, unlabelled = dmt_split(ids, written, int(fold))
    assert (len(labelled), len(unlabelled)) == (expected["labelled"], expected["unlabelled"])
    assert list_sha256(labelled) == expected["labelled_sha256"]
    assert list_sha256(unlabelled) == expected["unlabelled_sha256"]


@pytest.mark.parametrize(
    ("value", "total", "count", "text"),
    [
        ("1/8", 80, 10, "1/8"),
        (" 1/8 ", 80, 10, "1/8"),
        ("3/8", 80, 30, "3/8"),
        (0.125, 80, 10, "0.125"),
        ("0.125", 80, 10, "0.125"),
        (100, 367, 100, "100"),
        ("100", 367, 100, "100"),
        (9, 80, 9, "9"),  # a count is taken as it is
        ("1/8", 72, 10, "1/8"),  # 9 leaves one over
        ("1/8", 8, 2, "1/8"),
        (1.0, 9, 9, "1.0"),  # there is no tenth image
        ("1/1", 9, 9, "1/1"),
        ("full", 80, None, "full"),
        ("1/8", 367, 45, "1/8"),
        (1 / 3, 30, 10, str(1 / 3)),
    ],
)
def test_parse_ratio(value, total, count, text):
    assert parse_ratio(value, total) == (count, text)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "an eighth",
            "split.ratio=an eighth is not a label ratio; write a ratio such as 1/8 or 0.125, a count such as 100",
        ),
        ("1/0", "is not a label ratio"),
        ("", "is not a label ratio"),
        ("12.5%", "is not a label ratio"),
        (True, "is not a label ratio"),
        ("9/8", "not between 0 and 1"),
        (1.5, "not between 0 and 1"),
        (0.0, "not between 0 and 1"),
        (-0.5, "not between 0 and 1"),
        ("nan", "not between 0 and 1"),
        ("0/8", "not between 0 and 1"),
        (81, "asks for 81 labelled images, but 80 images have masks"),
        (0, "asks for 0 labelled images"),
        ("1/81", "1/81 of 80 images with masks leaves no labelled image"),
    ],
)
def test_unreadable_ratios(value, message):
    with pytest.raises(ConfigError, match=message):
        parse_ratio(value, 80)


def test_larger_ratios_contain_smaller_ones():
    small, large = dmt_split(IDS, "1/8", 1)[0], dmt_split(IDS, "1/2", 1)[0]
    assert set(small) < set(large)
    assert small != dmt_split(IDS, "1/8", 2)[0]


def test_dmt_split_faults():
    with pytest.raises(ConfigError, match="fold should be 0 or more, but is -1"):
        dmt_split(IDS, "1/8", -1)
    with pytest.raises(DataError, match="no training image has a mask"):
        dmt_split([], "1/8", 0)


def test_dmt_rule():
    split = build("dmt", ratio="1/8", fold=0)
    assert (split.name, split.ratio, len(split.labelled)) == ("dmt", "1/8", 10)
    assert split.subsets == {"a": split.labelled, "b": split.labelled}
    assert split.unlabelled[-2:] == ("u0", "u1")
    assert {*split.labelled, *split.unlabelled} == {*IDS, *UNMASKED}
    split.check([*IDS, *UNMASKED], IDS)


def test_full_ratio_and_full_rule():
    for split in (build("dmt", ratio="full", fold=0), build("full")):
        assert set(split.labelled) == set(IDS)
        assert split.unlabelled == ("u0", "u1")
        assert split.ratio == "full"
    with pytest.raises(DataError, match="no training image has a mask"):
        build("full", ids=[])


def test_files_rule(tmp_path):
    (tmp_path / "l.txt").write_text("id003\nid001\n\n")
    (tmp_path / "u.txt").write_text("id009\nu1\n")
    split = build("files", labelled=str(tmp_path / "l.txt"), unlabelled=None)
    assert split.labelled == ("id003", "id001")
    assert len(split.unlabelled) == 80
    assert split.ratio == "2/80"
    split.check([*IDS, *UNMASKED], IDS)
    split = build("files", labelled=str(tmp_path / "l.txt"), unlabelled=str(tmp_path / "u.txt"))
    assert split.unlabelled == ("id009", "u1")


def test_files_rule_faults(tmp_path):
    with pytest.raises(ConfigError, match=r"needs split\.labelled=FILE"):
        build("files", labelled=None, unlabelled=None)
    with pytest.raises(DataError, match=r"nowhere\.txt: cannot be read"):
        build("files", labelled=str(tmp_path / "nowhere.txt"), unlabelled=None)
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match=r"empty\.txt: no ids"):
        build("files", labelled=str(tmp_path / "empty.txt"), unlabelled=None)


@pytest.mark.parametrize(
    ("ratio", "common", "own"), [(80, 0.6, 16), (7, 0.6, 2), (1, 0.6, 0), (80, 1.0, 0), (80, 0.0, 40), (5, 0.0, 2)]
)
def test_difference_maximized(ratio, common, own):
    split = build("difference_maximized", ratio=ratio, fold=0, common=common)
    a, b = map(set, split.subsets.values())
    assert len(a - b) == len(b - a) == own
    assert a | b == set(split.labelled)
    assert split.labelled == dmt_split(IDS, ratio, 0)[0]
    split.check([*IDS, *UNMASKED], IDS)


@pytest.mark.parametrize(("fold", "a", "b"), [(0, (22, 70), (23, 58)), (1, (71, 23), (62, 35))])
def test_the_draws_of_difference_maximized_stay_as_they_are(fold, a, b):
    """Runs of another day and machine have the same subsets: here the images that only one network sees."""
    ids = [f"image{number:03}" for number in range(80)]
    split = SPLITS.build(
        {"name": "difference_maximized", "ratio": "1/8", "fold": fold, "common": 0.6},
        "split",
        ids=ids,
        unmasked=[],
        labels=None,
    )
    subsets = {network: [int(id.removeprefix("image")) for id in own] for network, own in split.subsets.items()}
    assert (tuple(subsets["a"][:2]), tuple(subsets["b"][-2:])) == (a, b)


def test_difference_maximized_depends_on_the_fold_alone():
    first, again, other = (
        build("difference_maximized", ratio="full", fold=fold, common=0.6).subsets["a"] for fold in (0, 0, 1)
    )
    assert first == again
    assert set(first) != set(other)
    with pytest.raises(ConfigError, match=r"common should lie between 0 and 1, but is 1\.5"):
        build("difference_maximized", ratio=8, fold=0, common=1.5)


def test_lowest_occurrence_takes_rare_classes_first():
    def labels(id):
        number = int(id[2:])
        present = [0, *[index for index, every in ((1, 3), (2, 10), (3, 40)) if number % every == 0]]
        return np.array([[*present, 255]], np.uint8)

    split = build("lowest_occurrence", ratio=8, fold=0, labels=labels)
    chosen = [int(id[2:]) for id in split.labelled]
    assert set(chosen[:2]) == {0, 40}  # class 3
    assert set(chosen) == {0, 10, 20, 30, 40, 50, 60, 70}  # then class 2
    assert chosen[:4] == [0, 40, *[n for n in chosen if n in (30, 60)]]  # ties: those that hold class 1 as well
    split.check([*IDS, *UNMASKED], IDS)
    assert split.labelled != build("lowest_occurrence", ratio=8, fold=1, labels=labels).labelled


@pytest.mark.parametrize("name", ["dmt", "full", "difference_maximized"])
def test_no_other_rule_opens_a_mask(name):
    arguments = {"dmt": {"ratio": "1/8", "fold": 0}, "difference_maximized": {"ratio": 8, "fold": 0, "common": 0.6}}
    build(name, **arguments.get(name, {}))


def make(**changes):
    fields = {
        "name": "x",
        "ratio": "1/2",
        "labelled": ("a", "b"),
        "unlabelled": ("c", "d"),
        "subsets": {"a": ("a", "b"), "b": ("b",)},
    }
    return Split(**{**fields, **changes})


def test_fingerprint():
    assert make().sha256 == make(name="y", ratio="2").sha256
    changed = [{"labelled": ("b", "a")}, {"unlabelled": ("c",)}, {"subsets": {"a": ("a",), "b": ("b",)}}]
    assert len({make(**change).sha256 for change in [{}, *changed]}) == 4
    assert list_sha256(["a", "b"]) == "911169ddaaf146aff539f58c26c489af3b892dff0fe283c1c264c65ae5aa59a2"


def test_json_round_trip():
    split = build("difference_maximized", ratio="1/8", fold=0, common=0.6)
    assert Split.from_json(split.to_json()) == split


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 1, "subsets": []}'])
def test_other_json_is_refused(text):
    with pytest.raises(DataError, match="not a split written by dmtc"):
        Split.from_json(text)


def test_changed_json_is_refused():
    with pytest.raises(DataError, match="they were changed"):
        Split.from_json(make().to_json().replace('"c"', '"e"'))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labelled": ()}, "has no labelled image"),
        ({"labelled": ("a", "b", "b")}, "1 ids are listed twice as labelled: b"),
        ({"unlabelled": ("c", "c")}, "1 ids are listed twice as unlabelled: c"),
        ({"unlabelled": ("a", "b", "c")}, "2 ids are both labelled and unlabelled: a, b"),
        ({"unlabelled": ("z", "y", "x", "w")}, r"4 ids are not among the training images: w, x, y, \.\.\."),
        ({"labelled": ("a", "b", "d"), "unlabelled": ()}, "1 ids are labelled but without a mask: d"),
        ({"subsets": {"a": ("c",)}}, "1 ids are listed for network a but not labelled: c"),
        ({"subsets": {"a": ("a", "a")}}, "1 ids are listed twice for network a"),
        ({"subsets": {"b": ()}}, "no labelled image for network b"),
    ],
)
def test_check_names_the_fault(changes, message):
    make().check(["a", "b", "c", "d"], ["a", "b", "c"])
    with pytest.raises(DataError, match=message):
        make(**changes).check(["a", "b", "c", "d"], ["a", "b", "c"])


def test_split_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().labelled = ()


CONF = sorted((Path(__file__).parents[2] / "conf" / "split").glob("*.yaml"))


@pytest.mark.parametrize("path", CONF, ids=lambda path: path.stem)
def test_yaml_keys_equal_the_signature(path):
    spec = OmegaConf.to_container(OmegaConf.load(path))
    assert spec["name"] == path.stem
    assert SPLITS.faults(spec, "split") == []
    parameters = inspect.signature(SPLITS.builder(path.stem)).parameters
    assert spec.keys() - {"name"} == parameters.keys() - SPLITS.runtime
    assert all(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters.values())


def test_every_rule_has_a_yaml():
    assert {path.stem for path in CONF} == own_names(SPLITS)
