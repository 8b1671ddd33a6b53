import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from dmtc.core.errors import DataError
from dmtc.data import DATASETS
from dmtc.data.voc import CLASSES, voc_palette
from trees import save, write_list, write_voc

LISTS = "ImageSets/Segmentation"


def build(root, masks="SegmentationClassAug", unlabelled=None):
    root = None if root is None else str(root)
    return DATASETS.build({"name": "voc", "root": root, "masks": masks, "unlabelled": unlabelled})


def ids(year, count):
    return tuple(f"{year}_{index:06d}" for index in range(count))


@pytest.fixture
def root(tmp_path):
    return write_voc(tmp_path / "VOC2012")


def test_every_image_with_a_mask_of_sbd_trains_but_the_validation_images(root):
    dataset = build(root)
    assert dataset.train == dataset.masked == ids("2007", 4) + ids("2008", 4)
    assert dataset.val == ids("2009", 2)
    assert (dataset.num_classes, dataset.classes[15]) == (21, "person")
    sizes = {dataset.sample(id).label.shape for id in dataset.train}
    assert len(sizes) == 3


def test_what_the_test_list_names_is_never_trained_on(root):
    """Whether it has a mask or not, also where every other image is unlabelled; most of the list is not there."""
    write_list(root / LISTS / "test.txt", ["2008_000001", "2010_000000", "2011_000000"])
    for masks in ("SegmentationClassAug", "SegmentationClass"):
        dataset = build(root, masks, unlabelled="all")
        assert not {"2008_000001", "2010_000000"} & set(dataset.train)
        assert dataset.test == (("2008_000001",) if masks == "SegmentationClassAug" else ())
    write_list(root / LISTS / "test.txt", ["2009_000001"])
    with pytest.raises(DataError, match=r"voc: 1 images are in two of the lists .*: 2009_000001"):
        build(root)


@pytest.mark.parametrize("name", ["trainaug.txt", "train_aug.txt"])
@pytest.mark.parametrize("line", ["{}", "/JPEGImages/{0}.jpg /SegmentationClassAug/{0}.png"])
def test_official_list_wins_over_the_folder(root, name, line):
    write_list(root / LISTS / name, [line.format(id) for id in ("2008_000001", "2007_000003", "2010_000000")])
    dataset = build(root)
    assert dataset.masked == ("2007_000003", "2008_000001")
    assert dataset.unmasked == ("2010_000000",)
    assert build(root, "SegmentationClass").train == ids("2007", 4)


def test_own_masks_alone(root):
    shutil.rmtree(root / "SegmentationClassAug")
    write_list(root / LISTS / "trainaug.txt", ["2008_000000"])
    dataset = build(root, "SegmentationClass")
    assert dataset.train == dataset.masked == ids("2007", 4)
    assert dataset.val == ids("2009", 2)


def test_all_other_images_join_without_masks(root):
    dataset = build(root, "SegmentationClass", "all")
    assert dataset.masked == ids("2007", 4)
    assert dataset.unmasked == ids("2008", 4) + ids("2010", 2)
    assert build(root, unlabelled="all").unmasked == ids("2010", 2)
    write_list(root / LISTS / "trainaug.txt", ["2008_000001"])
    unmasked = build(root, unlabelled="all").unmasked
    assert unmasked == (*ids("2007", 4), "2008_000000", *ids("2008", 4)[2:], *ids("2010", 2))


def test_palette_and_index_masks_read_alike(root):
    for folder, mode in {"SegmentationClass": "P", "SegmentationClassAug": "L"}.items():
        with Image.open(root / folder / "2007_000000.png") as file:
            assert file.mode == mode
    palette, index = build(root, "SegmentationClass").mask("2007_000000"), build(root).mask("2007_000000")
    np.testing.assert_array_equal(palette, index)
    assert 255 in palette
    assert {0} < set(np.unique(palette)) - {255} <= set(range(6))


def test_sbd_alone_is_completed_by_vocs_own_masks(root):
    # As converters of SBD leave it: some of VOC's images are not in it, others have another mask there.
    for id in ids("2007", 2):
        (root / f"SegmentationClassAug/{id}.png").unlink()
    for id in ("2007_000002", *ids("2009", 2)):
        save(root / f"SegmentationClassAug/{id}.png", np.zeros((3, 3), np.uint8))
    dataset = build(root)
    assert dataset.masked == ids("2007", 4) + ids("2008", 4)
    assert dataset.masks["2007_000000"].parent.name == "SegmentationClass"
    assert dataset.masks["2007_000002"].parent.name == "SegmentationClassAug"
    assert {dataset.masks[id].parent.name for id in dataset.val} == {"SegmentationClass"}


def test_folder_of_ones_own(root):
    for id in ("2008_000000", "2010_000000", *ids("2009", 2)):
        save(root / f"Mine/{id}.png", np.zeros((3, 3), np.uint8))
    dataset = build(root, "Mine")
    assert dataset.train == ("2008_000000", "2010_000000")
    assert {path.parent.name for path in dataset.masks.values()} == {"Mine"}


@pytest.mark.parametrize("inside", ["VOC2012", "VOCdevkit/VOC2012", "VOCtrainval_11-May-2012/VOCdevkit/VOC2012"])
def test_root_may_be_a_parent(tmp_path, inside):
    write_voc(tmp_path / inside)
    assert len(build(tmp_path).train) == 8
    assert len(build(tmp_path / inside).train) == 8


def test_two_copies_are_not_chosen_between(tmp_path):
    write_voc(tmp_path / "VOC2012")
    write_voc(tmp_path / "VOCdevkit/VOC2012")
    with pytest.raises(DataError, match=r"VOCdevkit.*; set dataset\.root"):
        build(tmp_path)


def test_root_is_needed():
    with pytest.raises(DataError, match=r"voc needs dataset\.root=DIR; download VOCtrainval_11-May-2012\.tar"):
        build(None)


@pytest.mark.parametrize(
    ("piece", "masks", "remedy"),
    [
        ("JPEGImages", "SegmentationClassAug", "VOCtrainval_11-May-2012.tar"),
        (f"{LISTS}/val.txt", "SegmentationClassAug", "VOCtrainval_11-May-2012.tar"),
        (f"{LISTS}/train.txt", "SegmentationClass", "VOCtrainval_11-May-2012.tar"),
        ("SegmentationClass", "SegmentationClass", "VOCtrainval_11-May-2012.tar"),
        (
            "SegmentationClassAug",
            "SegmentationClassAug",
            "SegmentationClassAug.zip .*VOC2012/SegmentationClassAug/<",
        ),
    ],
)
def test_missing_piece_is_named_with_its_remedy(root, piece, masks, remedy):
    (root / piece).rename(root / "elsewhere")
    with pytest.raises(DataError, match=rf"voc: .*{piece} is missing; download {remedy}"):
        build(root, masks)


def test_what_one_mask_set_does_not_need_may_be_missing(root):
    shutil.rmtree(root / "SegmentationClass")
    (root / LISTS / "train.txt").unlink()
    assert len(build(root).train) == 8


def test_validation_image_without_mask_is_named(root):
    (root / "SegmentationClass/2009_000001.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 validation images have no mask in .*Class: 2009_000001; download"):
        build(root, "SegmentationClass")


def test_masks_unpacked_one_folder_too_deep(root):
    (root / "SegmentationClassAug").rename(root / "inner")
    (root / "SegmentationClassAug").mkdir()
    (root / "inner").rename(root / "SegmentationClassAug/SegmentationClassAug")
    with pytest.raises(DataError, match=r"no image has a mask: .*Aug/2007_000000, .*SegmentationClassAug\.zip"):
        build(root)


def test_masks_without_image_are_told(root, caplog):
    (root / "JPEGImages/2008_000000.jpg").unlink()
    with caplog.at_level(logging.WARNING):
        dataset = build(root)
    assert "2008_000000" not in dataset.train
    assert "1 masks in" in caplog.text


def test_broken_mask_matters_only_when_it_is_read(root):
    (root / "SegmentationClassAug/2008_000000.png").write_bytes(b"broken")
    dataset = build(root)
    dataset.image("2008_000000")
    with pytest.raises(DataError, match=r"2008_000000\.png"):
        dataset.mask("2008_000000")


def test_palette():
    colors = dict(zip(CLASSES, voc_palette(21).tolist(), strict=True))
    assert colors["background"] == [0, 0, 0]
    assert colors["aeroplane"] == [128, 0, 0]
    assert colors["bottle"] == [128, 0, 128]
    assert colors["cat"] == [64, 0, 0]
    assert colors["person"] == [192, 128, 128]
    assert colors["tvmonitor"] == [0, 64, 128]
    assert voc_palette(256)[255].tolist() == [224, 224, 192]
