"""Data, lists, weights and run folders at another place: what is the same goes on, what differs is told."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import dmtc
from alike import what_came_of
from dmtc.core.errors import ConfigError, DataError
from dmtc.data import DATASETS
from dmtc.data.record import DataRecord, data_differences, record_data
from dmtc.run.folder import RunFolder

SHORT = [
    "dataset=folder",
    "dataset.augment.crop=[32,32]",
    "method=supervised",
    "model/backbone=tiny",
    "model.backbone.width=4",
    "model.weights.a=null",
    "schedule.limit_steps=2",
    "run.device=cpu",
    "run.progress=off",
    "run.report=false",
]


def scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(index)
    mask = np.zeros((40, 48), np.uint8)
    mask[8:24, 10 + index : 26 + index] = 1
    return (mask[..., None] * 90 + rng.integers(0, 60, (40, 48, 3))).astype(np.uint8), mask


def write_data(root: Path) -> Path:
    """Eight images, six of which have masks."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(8):
        image, mask = scene(index)
        cv2.imwrite(str(root / "images" / f"{index}.png"), image)
        if index < 6:
            cv2.imwrite(str(root / "masks" / f"{index}.png"), mask)
    return root


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """A finished run on images of a folder; both are copied, not changed."""
    folder = tmp_path_factory.mktemp("begun")
    write_data(folder / "data")
    dmtc.train(dmtc.compose([*SHORT, f"dataset.root={folder / 'data'}"]), folder / "run")
    return folder


@pytest.fixture
def moved(begun, tmp_path) -> tuple[Path, Path]:
    """The run, stopped before anything was done; and its data, which are not where it looks for them."""
    run, data = shutil.copytree(begun / "run", tmp_path / "run"), shutil.copytree(begun / "data", tmp_path / "moved")
    config = RunFolder(run).read_config()
    RunFolder(run).write_config(config | {"dataset": config["dataset"] | {"root": "/nowhere"}})
    shutil.rmtree(run / "phases")
    (run / "results.json").unlink()
    return run, data


def test_a_run_goes_on_with_data_at_another_place(moved, begun, command):
    run, data = moved
    code, _, err = command(f"resume={run}", small_run=False)
    assert code == 2
    assert "no folder /nowhere" in err
    code, _, err = command(f"resume={run}", f"dataset.root={data}", "run.workers=0", small_run=False)
    assert code == 0, err
    assert what_came_of(run)["files"] == what_came_of(begun / "run")["files"]
    assert RunFolder(run).read_config()["dataset"]["root"] == str(data), "it is kept"


def test_every_place_may_be_another(moved, tmp_path, command):
    run, data = moved
    (data / "images").rename(tmp_path / "pictures")
    (data / "masks").rename(tmp_path / "labels")
    places = ["dataset.root=null", f"dataset.images={tmp_path / 'pictures'}", f"dataset.masks={tmp_path / 'labels'}"]
    code, _, err = command(f"resume={run}", *places, small_run=False)
    assert code == 0, err


def image_of(data: Path, kind: str, id: str) -> Path:
    return data / kind / f"{id}.png"


def other_content(path: Path) -> None:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(path), np.where(picture == 0, 1, picture).astype(np.uint8))


def without(data: Path, kind: str, id: str) -> None:
    image_of(data, kind, id).unlink()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda data, run: other_content(image_of(data, "masks", run.split.labelled[0])), "the mask of the labelled"),
        (lambda data, run: other_content(image_of(data, "images", run.split.labelled[1])), "the image of the labelled"),
        (lambda data, run: other_content(image_of(data, "masks", run.dataset.val[0])), "the mask of the validation"),
        (lambda data, run: without(data, "masks", run.split.labelled[0]), "labelled"),
        (lambda data, run: without(data, "images", "7"), "not among the training images: 7"),
    ],
    ids=["labelled mask", "labelled image", "validation mask", "mask gone", "unlabelled image gone"],
)
def test_other_data_are_refused_and_it_is_told_in_what_they_differ(moved, begun, spoil, told):
    run, data = moved
    spoil(data, dmtc.Run.load(begun / "run"))
    with pytest.raises(DataError, match=told):
        dmtc.resume(run, places={"dataset.root": str(data)})
    with pytest.raises(DataError, match=told):
        _ = dmtc.Run.load(run, {"dataset.root": str(data)}).dataset.num_classes
    assert not (run / "phases").exists()


def test_data_that_were_changed_where_they_lie_are_refused_too(moved):
    run, data = moved
    config = RunFolder(run).read_config()
    RunFolder(run).write_config(config | {"dataset": config["dataset"] | {"root": str(data)}})
    other_content(next(iter(sorted((data / "masks").iterdir()))))
    with pytest.raises(DataError, match=r"not the data that .* started with: the mask of the \w+ image \d holds"):
        dmtc.resume(run)


def test_other_jobs_take_a_place_too(begun, tmp_path, command):
    run, data = shutil.copytree(begun / "run", tmp_path / "run"), shutil.copytree(begun / "data", tmp_path / "moved")
    config = RunFolder(run).read_config()
    RunFolder(run).write_config(config | {"dataset": config["dataset"] | {"root": "/nowhere"}})
    there = dmtc.Run.load(run, {"dataset.root": str(data)})
    assert there.dataset.val == dmtc.Run.load(begun / "run").dataset.val
    code, out, err = command("job=evaluate", f"run={run}", f"dataset.root={data}", small_run=False)
    assert code == 0, err
    assert f"{100 * there.results['miou']['a']['last']:.1f}" in out, "on the images that it was scored on, not on all"


def test_what_is_no_place_cannot_be_given(begun):
    with pytest.raises(ConfigError, match=r"dataset.val_seed is not the place"):
        dmtc.Run.load(begun / "run", {"dataset.val_seed": 1})
    with pytest.raises(ConfigError, match=r"no setting dataset.cache \(its data set is folder\)"):
        dmtc.Run.load(begun / "run", {"dataset.cache": "."})
    with pytest.raises(ConfigError, match=r"model.weights.a was None .* cannot become mine.pth"):
        dmtc.resume(begun / "run", places={"model.weights.a": "mine.pth"})


def test_starting_weights_at_another_place(begun, tmp_path):
    """They are needed until the first phase is done, and must be the same file."""
    from dmtc.models import save_weights

    weights = tmp_path / "weights.safetensors"
    save_weights(dmtc.Run.load(begun / "run").model("a"), weights)
    overrides = [*SHORT, f"dataset.root={begun / 'data'}", f"model.weights.a={weights}"]
    expected = what_came_of(dmtc.train(dmtc.compose(overrides), tmp_path / "run").folder.path)["files"]
    shutil.rmtree(tmp_path / "run" / "phases")
    (tmp_path / "run" / "results.json").unlink()
    place = {"model.weights.a": str(weights.rename(tmp_path / "elsewhere.safetensors"))}
    other = tmp_path / "other.safetensors"
    network = dmtc.Run.load(begun / "run").model("a")
    next(network.parameters()).data.add_(1)
    save_weights(network, other)
    with pytest.raises(DataError, match=r"model.weights.a: .*other.safetensors is another file than when"):
        dmtc.resume(tmp_path / "run", places={"model.weights.a": str(other)})
    dmtc.resume(tmp_path / "run", places=place)
    assert what_came_of(tmp_path / "run")["files"] == expected


def test_a_run_folder_that_was_moved(begun, tmp_path, monkeypatch):
    """Its data were named from the working directory of that time, which also holds other data by now."""
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    write_data(tmp_path / "there" / "data")
    monkeypatch.chdir(tmp_path / "there")
    dmtc.train(dmtc.compose([*SHORT, "dataset.root=data"]), "run")
    shutil.move("run", tmp_path / "here" / "other")
    monkeypatch.chdir(tmp_path / "here")
    write_data(Path("data"))
    other_content(next(Path("data/masks").iterdir()))
    run = dmtc.Run.load("other")
    assert all(path.is_relative_to(tmp_path / "there") for path in run.dataset.images.values())
    dmtc.resume("other")


def test_a_record_of_data(begun):
    run = dmtc.Run.load(begun / "run")
    record = run.folder.read_data()
    assert record == record_data(run.dataset, run.split.labelled)
    assert DataRecord.from_json(record.to_json()) == record
    assert data_differences(record, run.dataset) == []
    assert record.labelled.keys() == set(run.split.labelled)
    assert all(len(sha256) == 64 for part in (record.labelled, record.val) for pair in part.values() for sha256 in pair)


def test_files_that_cannot_be_read_are_recorded_as_such(tmp_path, begun):
    import os

    data = shutil.copytree(begun / "data", tmp_path / "data")
    config = RunFolder(begun / "run").read_config()["dataset"]
    spec = {key: value for key, value in config.items() if key not in ("augment", "on_error")} | {"root": str(data)}
    dataset = DATASETS.build(spec, "dataset")
    (data / "masks" / "0.png").unlink()
    os.mkfifo(data / "masks" / "0.png")
    assert record_data(dataset, ["0"]).labelled["0"][1] == "unreadable"
