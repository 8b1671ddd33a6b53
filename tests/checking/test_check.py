"""`job=check`: everything that is wrong or odd with a data set is told at once, and nothing is written."""

import io
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import dmtc
from dmtc.checking import advise, check_data, summary
from dmtc.core.errors import DataError
from dmtc.data.ids import bad_ids, file_name, id_fault
from dmtc.data.images import read_image
from dmtc.data.listed import find_files
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from trees import OWN, save, write_cityscapes, write_folder, write_list

NOISE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)


def check(root: Path, *overrides: str):
    components = Components(settle(dmtc.compose([*OWN, f"dataset.root={root}", *overrides])))
    return check_data(components)


def kinds(findings) -> set[str]:
    return {finding.kind for finding in findings}


def jpeg(picture: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_good_data_set(command, tmp_path):
    root = write_folder(tmp_path / "data")
    before = snapshot(tmp_path)
    code, out, err = command(*OWN, "job=check", f"dataset.root={root}", small_run=False)
    assert code == 0, err
    assert "12 images (8 labelled, 2 unlabelled, 2 validation), 2 classes" in out
    assert "errors" not in out
    assert "warnings" not in out
    assert "sizes (width x height): 40x40: 12" in out
    assert re.search(r"^1 thing +\d+\.\d\d% +8 +\d+\.\d\d% +2$", out, re.MULTILINE)
    assert snapshot(tmp_path) == before, "nothing is written"


def test_class_frequencies_are_counted(tmp_path):
    root = write_folder(tmp_path)
    result = check(root)
    masks = {path.stem: np.asarray(Image.open(path)) for path in (root / "masks").iterdir()}
    for role, ids in (("labelled", [f"p0{i}" for i in range(8)]), ("validation", ["p10", "p11"])):
        examined = result.of_role(role)
        assert [image.id for image in examined] == ids
        for image in examined:
            assert [image.pixels.get(value, 0) for value in (0, 1, 255)] == [
                (masks[image.id] == value).sum() for value in (0, 1, 255)
            ]


def damage(root: Path) -> None:
    """One of every fault: in labelled p00 to p07, in unlabelled p08, in validation p10."""
    images, masks = root / "images", root / "masks"
    (images / "p00.png").write_bytes(b"no picture")
    (images / "p01.png").unlink()
    (images / "p01.jpg").write_bytes(jpeg(Image.fromarray(NOISE))[:900])
    save(masks / "p02.png", np.zeros((40, 30), np.uint8))
    label = np.zeros((40, 40), np.uint8)
    label[0, :3], label[1, :2] = 7, 9
    save(masks / "p03.png", label)
    label[2, 0] = 7
    save(masks / "p04.png", label)
    save(masks / "p05.png", NOISE)
    (masks / "p06.png").write_bytes((masks / "p06.png").read_bytes()[:60])
    (images / "p08.png").write_bytes(b"")
    (masks / "p10.png").write_bytes(b"")


def test_every_fault_is_told_at_once(command, tmp_path):
    root = write_folder(tmp_path / "data")
    damage(root)
    code, out, err = command(*OWN, "job=check", f"dataset.root={root}", small_run=False)
    assert code == 2
    assert err == "error: 9 errors would stop training; see the list above\n"
    assert "errors: training would stop (9)" in out
    for text in (
        "unreadable image (2)",
        "p00.png: cannot be read as an image",
        "p08.png: cannot be read as an image",
        "image that is cut off (1)",
        "p01.jpg: cannot be read as an image, it is cut off",
        "mask of another size than its image (1)",
        "p02.png is 40x40 pixels but its mask",
        "unknown mask value (2)",
        "p03.png: 5 pixels have the unknown class 7, 9",
        "total: value 7: 7 pixels in 2 masks; value 9: 4 pixels in 2 masks",
        "mask with several channels (1)",
        "unreadable mask (2)",
        "p06.png: cannot be read as a mask",
        "p10.png: cannot be read as a mask",
    ):
        assert text in out, text


@pytest.mark.parametrize("workers", ["0", "1", "3"])
def test_the_report_does_not_depend_on_the_number_of_threads(tmp_path, workers):
    root = write_folder(tmp_path)
    damage(root)
    assert summary(check(root, f"run.workers={workers}"), 5) == summary(check(root), 5)


def test_masks_of_unlabelled_images_only_warn(tmp_path):
    root = write_folder(tmp_path)
    ids = [f"p0{i}" for i in range(8)]
    write_list(tmp_path / "labelled.txt", ids[4:])
    for id in ids[:4]:
        (root / f"masks/{id}.png").write_bytes(b"no mask")
    result = check(root, "split=files", f"split.labelled={tmp_path}/labelled.txt")
    assert not result.errors
    assert len(result.warnings) == 4
    assert "[unlabelled]" in summary(result, 5)


def test_unused_images_only_warn(tmp_path):
    root = write_folder(tmp_path)
    write_list(tmp_path / "labelled.txt", ["p00", "p01"])
    write_list(tmp_path / "unlabelled.txt", ["p02", "p03"])
    (root / "images/p04.png").write_bytes(b"")
    lists = (f"split.labelled={tmp_path}/labelled.txt", f"split.unlabelled={tmp_path}/unlabelled.txt")
    result = check(root, "split=files", *lists)
    assert len(result.of_role("unused")) == 6
    assert not result.errors
    assert kinds(result.warnings) == {"unreadable image"}


def test_odd_images_are_warned_of(tmp_path):
    root = write_folder(tmp_path)
    images = root / "images"
    save(images / "p00.png", NOISE[..., 0])
    save(images / "p01.png", np.dstack([NOISE, NOISE[..., :1]]))
    cv2.imwrite(str(images / "p02.png"), NOISE.astype(np.uint16) * 256)
    for id in ("p03", "p04"):
        (images / f"{id}.png").unlink()
    (images / "p03.jpg").write_bytes(jpeg(Image.fromarray(NOISE).convert("CMYK")))
    exif = Image.Exif()
    exif[0x0112] = 6
    (images / "p04.jpg").write_bytes(jpeg(Image.fromarray(NOISE), exif=exif))
    save(images / "p05.png", NOISE[..., 0].astype(np.uint16))
    result = check(root)
    assert not result.errors
    found = {(finding.kind, Path(finding.text).name) for finding in result.warnings}
    assert found == {
        ("gray image", "p00.png"),
        ("image with transparency", "p01.png"),
        ("16-bit image", "p02.png"),
        ("CMYK image", "p03.jpg"),
        ("image with an orientation tag", "p04.jpg"),
        ("gray image", "p05.png"),
        ("16-bit image", "p05.png"),
        ("nearly black image", "p05.png"),
    }


def test_poor_masks_and_unseen_classes_are_warned_of(tmp_path):
    root = write_folder(tmp_path)
    write_list(root / "classes.txt", ["ground", "thing", "rarity"])
    save(root / "masks/p00.png", np.full((40, 40), 255, np.uint8))
    save(root / "masks/p01.png", np.zeros((40, 40), np.uint8))
    result = check(root)
    assert not result.errors
    assert {(finding.kind, Path(finding.text).name) for finding in result.warnings} == {
        ("mask without valid pixels", "p00.png"),
        ("mask with only the first class", "p01.png"),
        ("class missing from all labelled masks", "2 rarity"),
    }


def test_labels_without_a_single_valid_pixel_are_an_error(tmp_path):
    root = write_folder(tmp_path)
    for index in range(8):
        save(root / f"masks/p0{index}.png", np.full((40, 40), 255, np.uint8))
    assert kinds(check(root).errors) == {"no usable training images"}


def test_pictures_that_are_there_twice(tmp_path):
    root = write_folder(tmp_path)
    pictures = {id: (root / f"images/{id}.png").read_bytes() for id in ("p00", "p02")}
    (root / "images/p01.png").write_bytes(pictures["p00"])
    (root / "images/p10.png").write_bytes(pictures["p02"])
    found = {finding.kind: finding.text for finding in check(root).warnings}
    assert found == {
        "same image under several ids": "p00 (labelled), p01 (labelled)",
        "same image in training and validation": "p02 (labelled), p10 (validation)",
    }


def test_unlisted_colors_are_counted_over_all_masks(tmp_path):
    root = write_folder(tmp_path)
    for path in (root / "masks").iterdir():
        save(path, np.zeros((40, 40, 3), np.uint8))
    for id in ("p00", "p01"):
        picture = np.zeros((40, 40, 3), np.uint8)
        picture[0, :3] = 9, 8, 7
        save(root / f"masks/{id}.png", picture)
    result = check(root, "dataset.colors=[[0,0,0],[128,0,0]]")
    assert kinds(result.errors) == {"unlisted mask color"}
    assert "total: color (9, 8, 7): 6 pixels in 2 masks" in summary(result, 5)


def test_skipped_faults_only_warn(tmp_path):
    root = write_folder(tmp_path)
    (root / "images/p00.png").write_bytes(b"")
    (root / "masks/p01.png").write_bytes(b"")
    assert len(check(root).errors) == 2
    result = check(root, "dataset.on_error=skip")
    assert not result.errors
    assert "[labelled]" in summary(result, 5)
    (root / "masks/p10.png").write_bytes(b"")
    assert {finding.role for finding in check(root, "dataset.on_error=skip").errors} == {"validation"}


def test_skipping_everything_is_an_error(tmp_path):
    root = write_folder(tmp_path)
    for index in range(8):
        (root / f"masks/p0{index}.png").write_bytes(b"")
    assert "no usable training images" in kinds(check(root, "dataset.on_error=skip").errors)


def test_a_run_that_skips_counts_what_it_skipped(command, tmp_path, caplog):
    root = write_folder(tmp_path / "data")
    (root / "masks/p00.png").write_bytes(b"")
    (root / "images/p08.png").write_bytes(b"")
    arguments = [*OWN, f"dataset.root={root}", "dataset.on_error=skip", "schedule.start.labelled_batch=4"]
    code, out, err = command(*arguments, "hydra.run.dir=out", small_run=False)
    assert code == 0, out + err
    phases = {phase["name"]: phase["skipped"] for phase in dmtc.Run.load(tmp_path / "out").results["phases"]}
    assert phases["r0-a"] == {"p00": 1}, "two steps of four are one epoch of the eight"
    assert "p08" in phases["r1-a"], "in the labelling pass and in training"
    told = [record.message for record in caplog.records]
    assert ["p00.png" in text for text in told] == [True, False], "each once"
    assert ["p08.png" in text for text in told] == [False, True]


def test_settings_that_do_not_fit_are_told_with_the_rest(tmp_path):
    root = write_folder(tmp_path, unmasked=0)
    (root / "images/p00.png").write_bytes(b"")
    assert kinds(check(root, "split.ratio=1/100").errors) == {"setting that does not fit the data", "unreadable image"}
    protocol = ("evaluation=padded", "evaluation.size=[30,30]", "method=supervised")
    errors = {finding.kind: finding.text for finding in check(root, *protocol).errors}
    assert "40x40 pixels do not fit into 30x30" in errors["setting that does not fit the data"]


def test_notices_of_the_data_set_are_part_of_the_report(tmp_path, caplog):
    root = write_folder(tmp_path)
    save(root / "masks/nobody.png", np.zeros((4, 4), np.uint8))
    os.symlink(root / "images", root / "images" / "again", target_is_directory=True)
    text = summary(check(root), 5)
    assert "1 masks in" in text
    assert "again is a link to a folder around it" in text
    assert not caplog.records, "told once"


def test_half_size_copies_are_not_made(tmp_path):
    write_cityscapes(tmp_path / "city")
    cache = tmp_path / "cache"
    overrides = ["dataset=cityscapes", f"dataset.root={tmp_path}/city", f"dataset.cache={cache}", "split=full"]
    components = Components(settle(dmtc.compose([*overrides, "method=supervised", "model/backbone=tiny"])))
    result = check_data(components)
    assert not result.errors
    assert {image.shape for image in result.images} == {(32, 64)}
    assert not cache.exists()


def test_more_files_than_are_shown(tmp_path):
    root = write_folder(tmp_path)
    for index in range(8):
        (root / f"images/p0{index}.png").write_bytes(b"")
    text = summary(check(root), 3)
    assert text.count("cannot be read as an image") == 3
    assert "and 5 more (job.shown=8 lists all)" in text


@pytest.mark.parametrize("tail", [b"", b"\0" * 20, b"what a camera appends"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_whole_images_are_read_whatever_follows(tmp_path, kind, tail):
    path = tmp_path / "a"
    Image.fromarray(NOISE).save(path, kind)
    path.write_bytes(path.read_bytes() + tail)
    assert read_image(path).shape == (40, 40, 3)


@pytest.mark.parametrize("share", [0.3, 0.95])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_images_that_are_cut_off_are_refused(tmp_path, capfd, kind, share):
    path = tmp_path / "a"
    Image.fromarray(NOISE).save(path, kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match="a: cannot be read as an image"):
        read_image(path)
    assert capfd.readouterr().err == "", "the libraries write nothing beside our line"


def test_a_jpeg_cut_off_behind_its_thumbnail_is_noticed(tmp_path, monkeypatch):
    """Whatever OpenCV says: some versions give back a picture that is gray below the cut."""
    monkeypatch.setattr(cv2, "imdecode", lambda content, flags: np.zeros((40, 40, 3), np.uint8))
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(Image.fromarray(NOISE))[:-400])
    with pytest.raises(DataError, match="it is cut off"):
        read_image(path)


def test_linked_folders_are_followed_but_not_in_circles(tmp_path, caplog):
    save(tmp_path / "elsewhere/deep/a.png", NOISE)
    save(tmp_path / "images/b.png", NOISE)
    os.symlink(tmp_path / "elsewhere", tmp_path / "images/linked", target_is_directory=True)
    os.symlink(tmp_path / "images", tmp_path / "elsewhere/back", target_is_directory=True)
    os.symlink(tmp_path / "images/self.png", tmp_path / "images/self.png")
    found = find_files(tmp_path / "images", [".png"])
    assert list(found) == ["b", "linked/deep/a", "self"]
    assert "back is a link to a folder around it" in caplog.text
    with pytest.raises(DataError, match=r"self\.png: cannot be read"):
        read_image(found["self"])


@pytest.mark.parametrize("id", ["a", "aachen/aachen_000000", "a b", "..a/b..", "é/ü", "a.b"])
def test_allowed_ids(id):
    assert id_fault(id) is None


@pytest.mark.parametrize(
    "id",
    ["", "..", "../a", "a/../b", "a/..", "/a", "\\a", "a\\..\\b", "C:\\a", "C:/a", "a//b", "a/", "./a", "a\nb", "a\0"],
)
def test_refused_ids(id):
    assert id_fault(id) is not None
    assert bad_ids(["fine", id]) == [f"{id!a} ({id_fault(id)})"]


def test_file_names_stay_short_flat_and_apart():
    ids = [
        "../../etc/passwd",
        "/root",
        "a/b",
        "a_b",
        "a b",
        "x" * 500,
        "字" * 300,
        "\U0001d400" * 300,
        "\udcff",
        "",
        "A",
        "a",
    ]
    names = [file_name(id) for id in ids]
    assert len(set(names)) == len(ids)
    for name in names:
        assert "/" not in name
        assert ".." not in name
        assert len(name.encode()) < 200


@pytest.mark.parametrize(("method", "views"), [("fixmatch_ema", None), ("unimatch", "of the 4 images of a step")])
def test_advice_knows_phases_whose_teacher_labels_inside_the_step(small, method, views):
    components = Components(settle(dmtc.compose([*small, f"method={method}"])))
    advice = advise(components, check_data(components))
    assert any(each.startswith("schedule.online.unlabelled_batch=") for each in advice.overrides)
    assert not any("pseudo_batch" in each for each in advice.overrides)
    settle(dmtc.compose([*small, f"method={method}", *advice.overrides]))
    assert any("views: of the" in reason for reason in advice.reasons) is (views is not None)
    assert any("run.accumulate is 1" in reason for reason in advice.reasons) is (method == "unimatch")
