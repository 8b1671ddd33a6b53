"""`job=convert`: exports of annotation tools become folders that are checked and trained on."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmtc.conversion import FORMATS
from marks import slow_but
from tool_exports import BOXES, COLORS, EMPTY, NAMES, SIZE, WRITERS, coco_content, truth, write_images, write_json

FEW_STEPS = [
    "dataset.augment.crop=[32,32]",
    "model=deeplabv2",
    "model/backbone=tiny",
    "model.backbone.width=8",
    "model.weights={a: null, b: null}",
    "schedule.limit_steps=2",
    "run.device=cpu",
    "run.progress=off",
    "run.report=false",
    "run.pictures=0",
]


def masks_of(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.asarray(Image.open(path)) for path in sorted((folder / "masks").rglob("*.png"))}


def convert(command, *given: str):
    return command("job=convert", "input=export", "output=out", *given, small_run=False)


def refused(command, tmp_path: Path, *given: str) -> str:
    """The one line of a conversion that is refused, after which nothing is there."""
    before = sorted(tmp_path.rglob("*"))
    code, out, err = convert(command, *given)
    assert code == 2, out + err
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert sorted(tmp_path.rglob("*")) == before
    return line


@pytest.fixture
def coco(tmp_path):
    """Write a COCO export after a change of its content."""

    def write(change) -> None:
        content = coco_content()
        change(content)
        write_images(tmp_path / "export/images")
        write_json(tmp_path / "export/instances.json", content)

    return write


def test_every_format_has_an_export():
    assert set(FORMATS.names()) <= WRITERS.keys()


SIX = ["coco", "labelme", "cvat", "label_studio", "supervisely", "labelmap"]
"""One of each tool."""


@pytest.mark.sampled(2)
@pytest.mark.parametrize("tool", slow_but(WRITERS, quick=SIX))
def test_an_export_is_converted_checked_trained_on_and_predicted(command, tmp_path, tool):
    WRITERS[tool](tmp_path / "export")
    code, out, err = convert(command)
    assert code == 0, out + err
    assert f"{tool.removeprefix('roboflow_') if tool == 'roboflow_coco' else tool}: 6 images (4 with masks, 2" in out
    assert "1 cat" in out
    masks = masks_of(tmp_path / "out")
    assert masks.keys() == set(NAMES)
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, truth(), name)
    images = [path for path in (tmp_path / "out/images").rglob("*") if path.is_file()]
    assert {path.stem for path in images} == {*NAMES, *EMPTY}
    given = ("experiment=your_data", "dataset.root=out")
    code, out, err = command("job=check", *given, "job.advice=false", *FEW_STEPS, small_run=False)
    assert code == 0, out + err
    assert "6 images (3 labelled, 2 unlabelled, 1 validation), 3 classes" in out
    code, out, err = command(*given, "method=supervised", "hydra.run.dir=run", *FEW_STEPS, small_run=False)
    assert code == 0, out + err
    predict = ("job=predict", "run=run", "input=out/images", "output=predicted", "job.write=[index]")
    code, out, err = command(*predict, "run.device=cpu", "run.progress=off", small_run=False)
    assert code == 0, out + err
    predicted = {path.stem: np.asarray(Image.open(path)) for path in (tmp_path / "predicted/index").rglob("*.png")}
    assert predicted.keys() == {*NAMES, *EMPTY}
    assert all(mask.shape == (SIZE, SIZE) and mask.max() < 3 for mask in predicted.values())


def test_a_zip_archive_is_converted_like_its_folder(command, tmp_path):
    WRITERS["cvat"](tmp_path / "folder")
    with zipfile.ZipFile(tmp_path / "export", "w") as archive:
        for path in sorted((tmp_path / "folder").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path / "folder"))
    (tmp_path / "export").rename(tmp_path / "export.zip")
    code, out, err = command("job=convert", "input=export.zip", "output=out", small_run=False)
    assert code == 0, out + err
    np.testing.assert_array_equal(masks_of(tmp_path / "out")["a"], truth())
    assert not list((tmp_path / "out").glob("unfinished*"))


def test_what_nobody_painted_can_be_ignored(command, tmp_path):
    WRITERS["labelmap"](tmp_path / "export")
    assert convert(command, "job.rest=ignore")[0] == 0
    mask = masks_of(tmp_path / "out")["a"]
    np.testing.assert_array_equal(mask, np.choose(truth(), [255, 0, 1]))
    assert "background" not in (tmp_path / "out/classes.yaml").read_text()


def test_crowds_are_ignored_where_no_object_is_and_boxes_are_left_out(command, tmp_path, coco):
    def change(content):
        whole = {"size": [SIZE, SIZE], "counts": [0, SIZE * SIZE]}
        content["annotations"].append({"id": 90, "image_id": 0, "category_id": 1, "iscrowd": 1, "segmentation": whole})
        content["annotations"].append(
            {"id": 91, "image_id": 1, "category_id": 1, "segmentation": [], "bbox": [0, 0, 5, 5]}
        )

    coco(change)
    code, out, _ = convert(command)
    assert code == 0
    np.testing.assert_array_equal(masks_of(tmp_path / "out")["a"], np.choose(truth(), [255, 1, 2]))
    assert "1 boxes without a polygon or mask" in out


def test_images_that_nobody_painted_on_can_be_all_background(command, tmp_path):
    WRITERS["coco"](tmp_path / "export")
    assert convert(command, "job.empty=background")[0] == 0
    assert not masks_of(tmp_path / "out")["e"].any()


def test_parts_and_colors_of_the_tool_are_kept(command, tmp_path):
    write_images(tmp_path / "export/images")
    for part, names in (("train", NAMES[:2]), ("val", NAMES[2:])):
        content = coco_content()
        content["images"] = [one for one in content["images"] if one["file_name"][0] in names]
        kept = {one["id"] for one in content["images"]}
        content["annotations"] = [one for one in content["annotations"] if one["image_id"] in kept]
        write_json(tmp_path / f"export/annotations/instances_{part}2017.json", content)
    code, out, _ = convert(command)
    assert code == 0
    assert "val 2 (2 with masks)" in out
    assert (tmp_path / "out/masks/val/c.png").is_file()
    WRITERS["supervisely"](tmp_path / "other")
    assert command("job=convert", "input=other", "output=colors", small_run=False)[0] == 0
    assert f"color: {list(COLORS['dog'])}, name: dog" in (tmp_path / "colors/classes.yaml").read_text()


def test_an_earlier_conversion_is_replaced_when_told_and_other_files_never(command, tmp_path):
    WRITERS["yolo"](tmp_path / "export")
    assert convert(command)[0] == 0
    assert "job.existing=replace" in refused(command, tmp_path)
    assert convert(command, "job.existing=replace")[0] == 0
    (tmp_path / "out/notes.txt").write_text("mine")
    assert "notes.txt" in refused(command, tmp_path, "job.existing=replace")


def test_images_elsewhere(command, tmp_path):
    WRITERS["label_studio"](tmp_path / "export")
    (tmp_path / "export/images").rename(tmp_path / "pictures")
    assert "job.images=DIR" in refused(command, tmp_path)
    assert convert(command, "job.images=pictures")[0] == 0
    np.testing.assert_array_equal(masks_of(tmp_path / "out")["d"], truth())


def _first(content):
    return content["annotations"][0]


DAMAGED = {
    "no image": (lambda c: c["images"][0].update(file_name="gone.png"), "there is no image 'gone.png'"),
    "outside": (lambda c: c["images"][0].update(file_name="../../a.png"), "lies outside the input"),
    "root": (lambda c: c["images"][0].update(file_name="/etc/passwd"), "lies outside the input"),
    "two points": (lambda c: _first(c).update(segmentation=[[1, 1, 5, 5]]), "annotation 0: a polygon with 2 points"),
    "NaN": (lambda c: _first(c).update(segmentation=[[1, 1, 5, 5, float("nan"), 3]]), "it holds NaN"),
    "far": (lambda c: _first(c).update(segmentation=[[1, 1, 5, 5, 1e9, 3]]), "far outside"),
    "class": (lambda c: _first(c).update(category_id=7), "category_id 7 is none of the categories"),
    "image id": (lambda c: _first(c).update(image_id=70), "image_id 70 is none of the images"),
    "short code": (
        lambda c: _first(c).update(segmentation={"size": [SIZE, SIZE], "counts": [5, 5]}),
        "is of 10 pixels, but should be of 48x48",
    ),
    "huge code": (
        lambda c: _first(c).update(segmentation={"size": [1 << 30, 1 << 30], "counts": [0, 1 << 31]}),
        "does not fit the image of 48x48",
    ),
    "letters": (lambda c: _first(c).update(segmentation={"size": [SIZE, SIZE], "counts": "\x01"}), "is malformed"),
    "size": (lambda c: c["images"][0].update(height=50), "labels are for 48x50 pixels, but the image has 48x48"),
    "shape": (lambda c: c["annotations"].insert(0, ["nonsense"]), "annotation 0: malformed"),
    "twice": (lambda c: c["images"][1].update(file_name="a.png"), "keep one of the two"),
}


@pytest.mark.sampled(6)
@pytest.mark.parametrize("kind", DAMAGED)
def test_damage_is_told_in_a_line_and_nothing_is_written(command, tmp_path, coco, kind):
    change, text = DAMAGED[kind]
    coco(change)
    assert text in refused(command, tmp_path)


def test_damage_can_be_left_out_and_such_images_get_no_mask(command, tmp_path, coco):
    coco(lambda content: _first(content).update(segmentation=[[1, 1, 5, 5]]))
    code, out, _ = convert(command, "job.damaged=leave_out")
    assert code == 0
    assert "a polygon with 2 points" in out
    assert masks_of(tmp_path / "out").keys() == {"b", "c", "d"}


def test_an_image_that_is_cut_off_is_told(command, tmp_path):
    WRITERS["coco"](tmp_path / "export")
    path = tmp_path / "export/images/a.png"
    path.write_bytes(path.read_bytes()[:500])
    assert "a.png" in refused(command, tmp_path)


ENTRIES = {
    "outside": ("../evil.json", "leads outside"),
    "root": ("/evil.json", "leads outside"),
    "windows": ("..\\evil.json", "leads outside"),
}


@pytest.mark.parametrize("kind", ENTRIES)
def test_archives_cannot_lead_outside(command, tmp_path, kind):
    name, text = ENTRIES[kind]
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr(name, "{}")
    assert text in refused(command, tmp_path, "input=export.zip")


def test_archives_cannot_fill_the_disk_or_link(command, tmp_path):
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.json", bytes(300 << 20))
    assert "would unpack to 315 MB" in refused(command, tmp_path, "input=export.zip")
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        entry = zipfile.ZipInfo("link.json")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    assert "is a link" in refused(command, tmp_path, "input=export.zip")
    (tmp_path / "export.zip").write_bytes(b"PK no archive")
    assert "cannot be unpacked" in refused(command, tmp_path, "input=export.zip")


def test_entities_in_xml_are_refused(command, tmp_path):
    (tmp_path / "export").mkdir()
    text = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aa">]><annotations>&a;</annotations>'
    (tmp_path / "export/annotations.xml").write_text(text)
    assert "document type" in refused(command, tmp_path)


def test_formats_that_are_not_there(command, tmp_path):
    write_images(tmp_path / "export")
    assert "no label files of a known tool" in refused(command, tmp_path)
    assert "Did you mean 'coco'?" in refused(command, tmp_path, "job.format=coko")
    (tmp_path / "export/labels.json").write_text("{")
    assert "labels.json: is not JSON" in refused(command, tmp_path)
    assert "lie in each other" in refused(command, tmp_path, "output=export/out")


def test_classes_that_a_yolo_label_does_not_know(command, tmp_path):
    WRITERS["yolo"](tmp_path / "export")
    (tmp_path / "export/train/labels/a.txt").write_text("9 0 0 1 0 1 1\n")
    assert "labels/a.txt:1: unknown class id 9" in refused(command, tmp_path)


def test_the_squares_overlap():
    assert BOXES["cat"][1] > BOXES["dog"][0]
