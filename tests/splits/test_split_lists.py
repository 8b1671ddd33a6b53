"""Lists of other papers: every layout, what is refused, and whose split it is."""

import json
import runpy
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dmtc.core.errors import DataError
from dmtc.splits import (
    Split,
    describe_published,
    dmt_split,
    list_sha256,
    published_sources,
    published_splits,
    read_ids,
    set_sha256,
)

GOLDEN = Path(__file__).parents[1] / "golden"
ROOT = Path(__file__).parents[2]
VOC = ["2007_000032", "2007_000733", "2010_004493"]
CITYSCAPES = ["aachen/aachen_000000_000019", "jena/jena_000078_000019", "ulm/ulm_000061_000019"]


def read(tmp_path, text, known):
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode())
    return read_ids(path, known, "training image")


@pytest.mark.parametrize(
    ("layout", "line"),
    [
        ("DMT", "{id}"),
        ("CPS with line ends of Windows", "{id}\r"),
        ("UniMatch and ST++", "JPEGImages/{id}.jpg SegmentationClass/{id}.png"),
        ("with leading slash", "/JPEGImages/{id}.jpg /SegmentationClassAug/{id}.png"),
        ("path alone", "./VOC2012/JPEGImages/{id}.JPG"),
        ("ids with a tab", "{id}\tSegmentationClass/{id}_mask"),
    ],
)
def test_layouts_of_voc(tmp_path, layout, line):
    text = "".join(line.format(id=id) + "\n" for id in reversed(VOC))
    assert read(tmp_path, text, VOC) == tuple(reversed(VOC))
    assert read(tmp_path, "\n" + text.rstrip("\n"), VOC) == tuple(reversed(VOC))


@pytest.mark.parametrize(
    ("layout", "line"),
    [
        ("DMT", "{city}/{stem}"),
        (
            "UniMatch and ST++",
            "leftImg8bit/train/{city}/{stem}_leftImg8bit.png gtFine/train/{city}/{stem}_gtFine_labelTrainIds.png",
        ),
        ("U2PL", "leftImg8bit/train/{city}/{stem}_leftImg8bit.png"),
        ("CPS", "/images/train/{stem}.png\t/segmentation/train/{stem}_gtFine.png"),
    ],
)
@pytest.mark.parametrize("tail", ["", "_leftImg8bit"])
def test_layouts_of_cityscapes(tmp_path, layout, line, tail):
    """Also for a folder whose file names, and so its ids, keep `_leftImg8bit`."""
    text = "\n".join(line.format(city=id.split("/")[0], stem=id.split("/")[1]) for id in CITYSCAPES)
    known = [id + tail for id in CITYSCAPES]
    if layout == "DMT" and tail:
        known = [f"leftImg8bit/{id}" for id in known]
    assert read(tmp_path, text, known) == tuple(known)


def test_names_with_blanks_dots_and_suffixes(tmp_path):
    known = ["a photo", "a", "b.v2", "scan.png", "deep/my photo.png of it"]
    text = "a photo\nimages/a.png masks/a.png\nb.v2\nscan.png\ndeep/my photo.png of it\n"
    assert read(tmp_path, text, known) == ("a photo", "a", "b.v2", "scan.png", "deep/my photo.png of it")
    assert read(tmp_path, "images/a photo.jpg masks/a photo.png\nimages/b.v2.jpg", known) == ("a photo", "b.v2")
    with pytest.raises(DataError, match="'a picture' is no training image"):
        read(tmp_path, "a picture", known)


def test_a_longer_path_settles_what_its_last_part_leaves_open(tmp_path):
    known = ["left/1", "right/1", "right/2"]
    assert read(tmp_path, "/data/images/right/1.png\nsomewhere/2.png", known) == ("right/1", "right/2")
    with pytest.raises(DataError, match=r"line 2: 'images/1\.png' could be any of left/1, right/1; write the id"):
        read(tmp_path, "right/2\nimages/1.png", known)


def test_unknown_entries(tmp_path):
    with pytest.raises(DataError, match=r"line 3: 'JPEGImages/2007_000033\.jpg' is no training image") as error:
        read(tmp_path, "2007_000032\n\nJPEGImages/2007_000033.jpg\n2007_000039\n", VOC)
    assert "2 of 3 entries are none" in str(error.value)
    assert "its first ids are 2007_000032, 2007_000733, 2010_004493" in str(error.value)


def test_an_image_listed_twice(tmp_path):
    with pytest.raises(DataError, match=r"line 3: 'JPEGImages/2007_000733\.jpg' repeats line 1"):
        read(tmp_path, "2007_000733\n2007_000032\nJPEGImages/2007_000733.jpg\n", VOC)


@pytest.fixture
def flowers(tmp_path):
    """A folder data set of eight images, one of them without a mask, named with blanks."""
    rng = np.random.default_rng(0)
    for index in range(8):
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
            if (kind, index) != ("masks", 7):
                shape = (16, 16, 3) if kind == "images" else (16, 16)
                cv2.imwrite(str(tmp_path / kind / f"flower {index}.png"), rng.integers(0, 2, shape, np.uint8))
    (tmp_path / "val.txt").write_text("flower 6\n")
    return tmp_path


def test_plan_of_imported_lists(command, flowers):
    pairs = [f"images/flower {index}.png masks/flower {index}.png\n" for index in range(8)]
    (flowers / "l.txt").write_text("".join([pairs[3], pairs[1]]))
    (flowers / "u.txt").write_text("".join([pairs[0], pairs[7]]))
    arguments = [
        "job=plan",
        "dataset=folder",
        f"dataset.root={flowers}",
        "split=files",
        f"split.labelled={flowers}/l.txt",
    ]
    labelled = list_sha256(["flower 1", "flower 3"])

    code, out, err = command(*arguments, f"split.unlabelled={flowers}/u.txt", small_run=False)
    assert code == 0, err
    rows = {line.rsplit(maxsplit=2)[0]: line.rsplit(maxsplit=2)[1:] for line in out.splitlines() if line}
    assert rows["labelled a"] == rows["labelled b"] == ["2", labelled]
    assert rows["unlabelled"] == ["2", list_sha256(["flower 0", "flower 7"])]
    assert "published" not in out

    code, out, err = command(*arguments, "method=supervised", small_run=False)
    assert code == 0, err
    assert labelled in out
    assert "network b" not in out
    assert list_sha256([f"flower {index}" for index in (0, 2, 4, 5, 7)]) in out

    (flowers / "u.txt").write_text("".join([pairs[0], pairs[1]]))
    code, out, err = command(*arguments, f"split.unlabelled={flowers}/u.txt", small_run=False)
    assert code == 2
    assert "1 ids are both labelled and unlabelled: flower 1" in err


def golden_ids(dataset):
    name = {"voc": "voc_trainaug", "cityscapes": "cityscapes_train"}[dataset]
    return (GOLDEN / f"{name}_ids.txt").read_text().split()


def test_random_splits_of_dmt_and_dmtc_come_out_of_the_rule():
    ids = {dataset: golden_ids(dataset) for dataset in ("voc", "cityscapes")}
    checked = Counter()
    for split in published_splits():
        for shipped in split.lists:
            ratio, _, fold = shipped.name.partition(" fold ")
            if fold:
                labelled, unlabelled = dmt_split(ids[split.dataset], ratio, int(fold))
                assert (len(labelled), set_sha256(labelled)) == (split.labelled, split.labelled_sha256)
                assert (len(unlabelled), set_sha256(unlabelled)) == (split.unlabelled, split.unlabelled_sha256)
                checked[shipped.source] += 1
    assert checked == {"DMT": 27, "DMTC": 15}
    published = json.loads((GOLDEN / "published_splits.json").read_text())
    names = {(s.dataset, shipped.name) for s in published_splits() for shipped in s.lists if " fold " in shipped.name}
    assert len(names) == len(published["voc_trainaug"]) + len(published["cityscapes_train"]) == 33


def test_published_splits_hold_together():
    splits, sources = published_splits(), {source.name: source for source in published_sources()}
    prints = [(split.labelled_sha256, split.unlabelled_sha256) for split in splits]
    assert len(set(prints)) == len(splits), "one entry a split"
    assert all(len(bytes.fromhex(digits)) == 32 for pair in prints for digits in pair if digits is not None)
    assert {split.dataset for split in splits if split.unlabelled_sha256 is None} == {"coco"}
    assert all(len(bytes.fromhex(source.commit)) == 20 for source in sources.values())
    lists = [(shipped.source, shipped.file) for split in splits for shipped in split.lists]
    assert len(set(lists)) == len(lists)
    assert {source for source, _ in lists} == sources.keys()
    # CPS's `pseudoseg` lists leave SBD's images out.
    totals = {"voc": {10582, 1464}, "cityscapes": {2975}, "ade20k": {20210}, "coco": {118287}}
    assert all(s.labelled + s.unlabelled - s.on_both in totals[s.dataset] for s in splits)


def test_a_published_split_is_recognized():
    labelled, unlabelled = dmt_split(golden_ids("cityscapes"), "1/8", 0)
    split = Split(
        name="files", ratio="x", labelled=labelled[::-1], unlabelled=unlabelled, subsets={"a": labelled, "b": labelled}
    )
    assert describe_published(split) == ["published as DMT 1/8 fold 0, DMTC 1/8 fold 0 (cityscapes)"]
    fewer = replace(split, unlabelled=unlabelled[1:])
    assert describe_published(fewer) == [
        "the same labelled images, but other unlabelled ones (2604): DMT 1/8 fold 0, DMTC 1/8 fold 0 (cityscapes)"
    ]
    assert describe_published(replace(split, labelled=labelled[1:])) == []


def test_a_split_whose_unlabelled_list_was_not_read_is_recognized_by_its_number(monkeypatch):
    labelled, unlabelled = dmt_split(golden_ids("cityscapes"), "1/8", 0)
    split = Split(name="files", ratio="x", labelled=labelled, unlabelled=unlabelled, subsets={"a": labelled})
    known = next(one for one in published_splits() if one.labelled_sha256 == set_sha256(labelled))
    monkeypatch.setattr("dmtc.splits.published.published_splits", lambda: (replace(known, unlabelled_sha256=None),))
    name = "DMT 1/8 fold 0, DMTC 1/8 fold 0 (cityscapes)"
    assert describe_published(split) == [f"published as {name}; of the unlabelled images only the number was compared"]
    fewer = replace(split, unlabelled=unlabelled[1:])
    assert describe_published(fewer) == [f"the same labelled images, but other unlabelled ones (2604): {name}"]


@pytest.mark.parametrize(
    ("dataset", "counts"),
    [("ade20k", [158, 316, 631, 632, 1263, 2526, 5052, 10105]), ("coco", [232, 463, 925, 1849, 3697])],
)
def test_labelled_counts_of_later_papers(dataset, counts):
    assert [split.labelled for split in published_splits() if split.dataset == dataset] == counts


def test_the_page_of_published_splits_is_up_to_date():
    page = (ROOT / "docs" / "splits.md").read_text("utf-8")
    assert runpy.run_path(str(ROOT / "docs" / "making" / "splits.py"))["with_tables"](page) == page, (
        "run python docs/making/splits.py"
    )
