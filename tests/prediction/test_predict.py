"""`job=predict` and predictions of arrays, on a run of two-step networks."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import dmtc
from dmtc.core.errors import ConfigError
from dmtc.engine.components import Components
from dmtc.evaluation import build_evaluation
from dmtc.prediction import outputs as written


@pytest.fixture(scope="module")
def pictures() -> dict[str, np.ndarray]:
    """RGB pictures by name; two sizes."""
    generator = np.random.default_rng(0)
    small = {name: cv2.resize(generator.integers(0, 256, (6, 8, 3), np.uint8), (44, 30)) for name in ("a", "day/b")}
    return small | {"day/c": cv2.resize(generator.integers(0, 256, (6, 8, 3), np.uint8), (52, 60))}


@pytest.fixture
def folder(tmp_path, pictures):
    for name, picture in pictures.items():
        path = tmp_path / "in" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return tmp_path / "in"


@pytest.fixture
def predict(command, finished, folder, tmp_path):
    """`predict("job.flip=true")` -> exit code, stdout, stderr; the results lie in tmp_path/out."""

    def call(*arguments, run=finished.folder.path):
        own = () if any(a.startswith("input=") for a in arguments) else (f"input={folder}",)
        given = ("job=predict", f"run={run}", *own, f"output={tmp_path / 'out'}", "run.device=cpu", *arguments)
        return command(*given, small_run=False)

    return call


def mask(path) -> np.ndarray:
    return np.asarray(Image.open(path))


def index_of(tmp_path, name) -> np.ndarray:
    return mask(tmp_path / "out" / "index" / f"{name}.png")


def test_everything_that_can_be_written(predict, finished, pictures, tmp_path):
    code, out, err = predict("job.write=[index,palette,overlay,confidence,probabilities]", "run.label_batch=2")
    assert code == 0, err
    assert out.startswith("3 images in ")
    for name, picture in pictures.items():
        seen = finished.prediction(picture)
        np.testing.assert_array_equal(index_of(tmp_path, name), seen.label)
        palette = Image.open(tmp_path / "out" / "palette" / f"{name}.png")
        assert palette.mode == "P"
        np.testing.assert_array_equal(np.asarray(palette), seen.label)
        np.testing.assert_array_equal(np.asarray(palette.convert("RGB")), finished.dataset.colored(seen.label))
        overlay = mask(tmp_path / "out" / "overlay" / f"{name}.jpg").astype(float)
        wanted = picture / 2 + finished.dataset.colored(seen.label) / 2
        assert np.abs(overlay - wanted).mean() < 12, "a JPEG"
        confidence = mask(tmp_path / "out" / "confidence" / f"{name}.png")
        np.testing.assert_allclose(confidence / 255, seen.confidence, atol=0.51 / 255)
        with np.load(tmp_path / "out" / "probabilities" / f"{name}.npz") as archive:
            probabilities = archive["probabilities"]
        assert probabilities.dtype == np.float16
        np.testing.assert_allclose(probabilities, seen.probabilities, atol=1e-3)
    record = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [one["name"] for one in record["classes"]] == list(finished.dataset.classes)
    assert record["done"]["images"] == 3
    assert record["settings"]["networks"] == "ab"


def test_arrays_with_confidence_and_probabilities(finished, pictures):
    seen = finished.prediction(pictures["a"])
    assert (seen.label.dtype, seen.confidence.dtype, seen.probabilities.dtype) == (np.uint8, np.float32, np.float32)
    np.testing.assert_array_equal(seen.probabilities.argmax(0), seen.label)
    np.testing.assert_allclose(seen.probabilities.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(seen.probabilities.max(0), seen.confidence)
    one = [finished.prediction(pictures["a"], ensemble=letter).probabilities for letter in "ab"]
    np.testing.assert_allclose(np.mean(one, axis=0), seen.probabilities, atol=1e-5)
    assert [one.label.shape for one in finished.prediction(list(pictures.values()))] == [(30, 44), (30, 44), (60, 52)]
    flipped = finished.prediction(pictures["a"][:, ::-1], flip=True).probabilities[:, :, ::-1]
    np.testing.assert_allclose(flipped, finished.prediction(pictures["a"], flip=True).probabilities, atol=1e-5)
    with pytest.raises(ConfigError, match="scales should be factors above 0"):
        finished.predict(pictures["a"], scales=[0.0])


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["evaluation=sliding", "evaluation.crop=[24,24]"], {"window": (24, 24)}),
        (["job.flip=true", "job.scales=[0.5,1.0]"], {"flip": True, "scales": [0.5, 1.0]}),
        (["job.networks=b"], {"ensemble": "b"}),
    ],
)
def test_networks_are_asked_as_is_wanted(predict, finished, pictures, tmp_path, arguments, options):
    code, _, err = predict("job.write=[index]", *arguments)
    assert code == 0, err
    for name, picture in pictures.items():
        np.testing.assert_array_equal(index_of(tmp_path, name), finished.predict(picture, **options))


def test_best_weights(predict, finished, tmp_path, pictures):
    code, _, err = predict("job.write=[index]", "job.checkpoint=best", "job.networks=a")
    assert code == 0, err
    with torch.inference_mode():
        logits = finished.model("a", which="best")(torch.from_numpy(pictures["a"]).permute(2, 0, 1)[None])
    np.testing.assert_array_equal(index_of(tmp_path, "a"), logits[0].argmax(0).numpy())


@pytest.mark.parametrize(
    "protocol",
    [
        {"name": "padded", "size": [64, 50]},
        {"name": "center_crop", "size": [20, 20]},
        {"name": "short_edge", "size": 20},
        {"name": "resized", "factor": 0.5},
        {"name": "multiple", "of": 14},
    ],
    ids=lambda protocol: protocol["name"],
)
def test_protocols_predict_every_pixel(protocol):
    """What is shown differs, what comes back is of the picture's size, and on top of it."""
    shown = []

    def network(images):
        shown.append(tuple(images.shape[-2:]))
        return torch.stack([images[:, 0].float(), 255 - images[:, 0].float()], 1)

    evaluation = build_evaluation(protocol | {"flip": False, "scales": [1.0], "absent": "left_out"}, "evaluation")
    images = torch.zeros(1, 3, 60, 52, dtype=torch.uint8)
    images[..., 26:] = 255
    logits = evaluation.of_pictures(network)(images)
    assert logits.shape == (1, 2, 60, 52)
    assert (logits.argmax(1)[0, :, :24] == 1).all()
    assert (logits.argmax(1)[0, :, 28:] == 0).all()
    sizes = {"padded": (64, 52), "center_crop": (60, 52), "short_edge": (23, 20), "resized": (30, 26)}
    assert shown == [sizes.get(protocol["name"], (56, 56))]


def test_the_data_set_need_not_be_there(predict, finished, monkeypatch, tmp_path):
    monkeypatch.setattr(Components, "dataset", property(lambda self: pytest.fail("the data set was asked for")))
    code, _, err = predict("job.write=[palette]")
    assert code == 0, err
    run = dmtc.Run.load(finished.folder.path)
    assert run.predict(np.zeros((20, 20, 3), np.uint8)).shape == (20, 20)
    assert run.task.classes == tuple(finished.results["per_class_iou"])


def test_damaged_classes_are_told(predict, finished, tmp_path):
    shutil.copytree(finished.folder.path, tmp_path / "run")
    (tmp_path / "run" / "task.json").write_text('{"classes": [{"name": "x", "color": [0, 0]}]}')
    code, _, err = predict(run=tmp_path / "run")
    assert code == 2
    assert "task.json is damaged" in err


def test_pictures_are_shown_at_the_size_that_training_read(predict, finished, pictures, tmp_path):
    shutil.copytree(finished.folder.path, tmp_path / "run")
    task = json.loads((tmp_path / "run" / "task.json").read_text())
    (tmp_path / "run" / "task.json").write_text(json.dumps(task | {"reduction": 2}))
    code, _, err = predict("job.write=[index]", run=tmp_path / "run")
    assert code == 0, err
    own = finished.predict(pictures["a"], scales=[0.5])
    np.testing.assert_array_equal(index_of(tmp_path, "a"), own)
    code, _, err = predict("job.write=[index]", "job.resize=1", "job.existing=replace", run=tmp_path / "run")
    assert code == 0, err
    np.testing.assert_array_equal(index_of(tmp_path, "a"), finished.predict(pictures["a"]))


def test_files_that_cannot_be_read_are_told_and_the_others_done(predict, folder, tmp_path):
    whole = (folder / "a.png").read_bytes()
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "day" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "no.mp4").write_bytes(b"no video")
    code, out, err = predict()
    assert code == 2
    assert out.startswith("3 images in ")
    lines = [line for line in err.splitlines() if line.startswith("WARNING: skipped: ")]
    assert [line.split("/")[-1].split(":")[0] for line in lines] == ["broken.jpg", "cut.png", "no.mp4"]
    assert err.splitlines()[-1] == "error: 3 of 6 files could not be read; see above"
    assert len(list((tmp_path / "out" / "index").rglob("*.png"))) == 3
    skipped = json.loads((tmp_path / "out" / "predictions.json").read_text())["done"]["skipped"]
    assert [path.split("/")[-1] for path in skipped] == ["broken.jpg", "cut.png", "no.mp4"]


def test_what_is_there_is_not_replaced_unasked(predict, folder, tmp_path):
    assert predict("job.write=[index]")[0] == 0
    before = (tmp_path / "out" / "index" / "a.png").stat().st_mtime_ns
    code, _, err = predict("job.write=[index]")
    assert code == 2
    assert "3 files to be written already exist" in err
    assert "job.existing=skip" in err
    (tmp_path / "out" / "index" / "day" / "b.png").unlink()
    code, out, err = predict("job.write=[index]", "job.existing=skip")
    assert code == 0, err
    assert out.startswith("1 image in ")
    assert (tmp_path / "out" / "index" / "a.png").stat().st_mtime_ns == before
    code, out, err = predict("job.write=[index]", "job.existing=skip")
    assert out == f"nothing left to do in {tmp_path / 'out'}\n"
    code, _, err = predict("job.write=[index]", "job.existing=skip", "job.flip=true")
    assert code == 2
    assert "predicted with other settings (evaluation)" in err
    assert predict("job.write=[index]", "job.existing=replace")[1].startswith("3 images")
    assert (tmp_path / "out" / "index" / "a.png").stat().st_mtime_ns > before


def test_no_file_is_ever_half_written(predict, tmp_path, monkeypatch):
    def fails(prediction):
        raise OSError(28, "No space left on device", str(tmp_path / "out"))

    monkeypatch.setattr(written, "confidence_png", fails)
    code, _, err = predict("run.label_batch=1", "job.write=[index,confidence]")
    assert code == 1
    assert "the disk is full" in err
    assert not list((tmp_path / "out").rglob("*.part"))
    assert not list((tmp_path / "out").rglob("confidence/*.png"))
    for path in (tmp_path / "out" / "index").rglob("*.png"):
        assert mask(path).ndim == 2


def test_orientation_tags_are_followed_only_if_asked_for(predict, finished, folder, tmp_path, pictures):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pictures["a"]).save(folder / "turned.png", exif=exif)
    code, _, err = predict("job.write=[index]", f"input={folder / 'turned.png'}")
    assert code == 0, err
    assert "1 image has an orientation tag, which is ignored as in training; job.upright=true" in err
    np.testing.assert_array_equal(index_of(tmp_path, "turned"), finished.predict(pictures["a"]))
    more = ("job.write=[index]", f"input={folder / 'turned.png'}", "job.upright=true", "job.existing=replace")
    code, _, err = predict(*more)
    assert code == 0, err
    assert "orientation" not in err
    turned = np.rot90(pictures["a"], -1)
    np.testing.assert_array_equal(index_of(tmp_path, "turned"), finished.predict(turned))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["job.networks=c"], "job.networks should be a or b or ab"),
        (["job.networks=aa"], "job.networks should be a or b or ab"),
        (["job.checkpoint=first"], "job.checkpoint should be last or best"),
        (["job.resize=0"], "job.resize should be a factor above 0"),
        (["job.write=[]"], "job.write is empty"),
        (["job.write=[masks]"], "job.write takes index, palette, overlay, confidence, probabilities"),
        (["job.opacity=2"], "job.opacity should be in [0, 1]"),
        (["job.existing=append"], "job.existing"),
        (["job.layout=coco"], "unknown layout 'coco'"),
        (["job.layout=voc"], "job.layout=voc is for networks of its 21 classes"),
        (["job.scales=[]"], "evaluation.scales"),
        (["input="], "job=predict needs input="),
        (["input=/nowhere"], "there is no such file or folder"),
        (["run=/nowhere"], "no run folder /nowhere"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_options_are_told_before_anything_is_written(predict, tmp_path, arguments, told):
    code, _, err = predict(*arguments)
    assert code == 2
    assert told in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_run_is_asked_for(command):
    code, _, err = command("job=predict", "input=.", "output=out", small_run=False)
    assert code == 2
    assert "dmtc job=predict run=RUN_DIR input=FOLDER output=DIR" in err
