"""The recipe for one's own pictures: lengths by count, a crop that fits, advice; and what the data decided is kept."""

import shutil

import numpy as np
import pytest
import yaml

import dmtc
from dmtc.checking import advise, check_data
from dmtc.checking.advice import Advice
from dmtc.core.errors import ConfigError
from dmtc.data.augment import Augment
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.run.folder import RunFolder
from dmtc.schedule.lengths import steps_by_count, with_lengths
from trees import save, write_folder

TINY = [
    "experiment=your_data",
    "method=dmtc",
    "model=deeplabv2",
    "model/backbone=tiny",
    "model/tuning=full",
    "model.backbone.width=8",
    "model.weights.a=null",
    "model.weights.b=null",
    "schedule.start.root_steps=3",
    "schedule.rounds.root_steps=7",
    "schedule.rounds.label_ratios=[1.0]",
    "run.progress=off",
    "run.report=false",
    "run.device=cpu",
]


def parts_of(*overrides: str) -> Components:
    return Components(settle(dmtc.compose([*overrides])))


@pytest.mark.parametrize(
    ("images", "steps"), [(1, 100), (10, 320), (46, 680), (100, 1000), (367, 1920), (10_000, 10_000)]
)
def test_the_rule_of_lengths(images, steps):
    assert steps_by_count(100, images) == steps


def test_lengths_never_vanish():
    assert steps_by_count(0.01, 1) == 10
    assert steps_by_count(100, 0) == 10


def test_steps_and_epochs_come_before_the_rule():
    schedule = settle(dmtc.compose(["experiment=your_data"]))["schedule"]
    done, notes = with_lengths(schedule, 46, 321)
    assert (done["start"]["steps"], done["rounds"]["steps"]) == (340, 180)
    assert notes == [
        "schedule.start.steps=340, as 50 x the square root of 46 labelled images",
        "schedule.rounds.steps=180, as 10 x the square root of 321 unlabelled images",
    ]
    assert schedule["start"]["steps"] is None, "the given one is left as it is"
    for setting in ("steps=7", "epochs=2"):
        given = settle(dmtc.compose(["experiment=your_data", f"schedule.start.{setting}"]))["schedule"]
        done, notes = with_lengths(given, 46, 321)
        assert done["start"] == given["start"]
        assert len(notes) == 1
    assert with_lengths(done, 10, 10) == (done, []), "done once"


def test_a_rule_that_means_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"schedule\.start\.root_steps should be above 0 or null, but is -1"):
        settle(dmtc.compose(["experiment=your_data", "schedule.start.root_steps=-1"]))


@pytest.mark.parametrize(
    ("size", "crop"),
    [
        (None, [256, 320]),
        ((1000, 1000), [256, 320]),
        ((200, 330), [192, 320]),
        ((40, 31), [32, 32]),
        ((3, 900), [32, 320]),
    ],
)
def test_the_crop_fits_the_images(size, crop):
    augment = Augment(crop=[256, 320], scale=[0.5, 1.5], flip=0.5, fit=True)
    assert augment.fitted(size).crop == crop
    assert not augment.fitted(size).fit
    assert Augment(crop=[256, 320], scale=[0.5, 1.5], flip=0.5).fitted((40, 40)).crop == [256, 320]


def test_the_plan_shows_what_follows_from_the_data(command, tmp_path):
    root = write_folder(tmp_path / "data", size=70)
    code, out, err = command(*TINY, f"dataset.root={root}", "job=plan", small_run=False)
    assert code == 0, err
    assert "schedule.start.steps=10, as 3 x the square root of 8 labelled images" in out
    assert "dataset.augment.crop=[64,64], as labelled images are usually not larger" in out
    assert not list(tmp_path.glob("outputs/*/*"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on one-class masks of 0 and 255 without a list of classes."""
    folder = tmp_path_factory.mktemp("own")
    root = write_folder(folder / "data", unmasked=3)
    (root / "classes.txt").unlink()
    for path in (root / "masks").iterdir():
        mask = np.zeros((40, 40), np.uint8)
        mask[10:30, int(path.stem[1:]) :] = 255
        save(path, mask)
    cfg = dmtc.compose([*TINY, f"dataset.root={root}"])
    return root, dmtc.train(cfg, folder / "run")


def test_what_was_left_to_the_data_is_kept_with_the_run(trained):
    _, run = trained
    config = yaml.safe_load(run.folder.config_path.read_text())
    assert config == run.config
    assert (config["schedule"]["start"]["steps"], config["schedule"]["rounds"]["steps"]) == (10, 10)
    assert config["dataset"]["augment"] == {"crop": [32, 32], "scale": [0.5, 1.5], "flip": 0.5, "fit": False}
    assert config["dataset"]["mask_kind"] == "binary"
    assert config["dataset"]["classes"] == ["background", "foreground"]
    assert config["dataset"]["values"] == [0, 255]
    assert set(run.results["per_class_iou"]) == {"background", "foreground"}


def test_a_run_goes_on_with_its_plan_whatever_becomes_of_the_data(trained, tmp_path):
    root, run = trained
    shutil.copytree(root, tmp_path / "data")
    shutil.copytree(run.folder.path, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    config = folder.read_config()
    config["dataset"]["root"] = str(tmp_path / "data")
    folder.write_config(config)
    folder.results_path.unlink()
    shutil.rmtree(tmp_path / "run/phases/r1-b")
    for index in range(90, 99):  # would be other lengths, another crop and another kind of masks
        save(tmp_path / f"data/images/q{index}.png", np.zeros((8, 8, 3), np.uint8))
        if index < 94:
            save(tmp_path / f"data/masks/q{index}.png", np.full((8, 8), 3, np.uint8))
    again = dmtc.resume(tmp_path / "run")
    assert again.plan == run.plan
    assert again.split.sha256 == run.split.sha256
    assert again.results["miou"] == run.results["miou"]


def test_the_same_command_into_the_same_folder_goes_on(trained):
    root, run = trained
    again = dmtc.train(dmtc.compose([*TINY, f"dataset.root={root}"]), run.folder.path)
    assert again.results["miou"] == run.results["miou"]


def test_starting_weights_that_cannot_be_downloaded_are_one_line(command, tmp_path, monkeypatch):
    def offline(self):
        raise OSError("no route to host\nand a second line")

    monkeypatch.setattr("dmtc.models.backbones.timm_backbone.TimmBackbone.imagenet_state", offline)
    root = write_folder(tmp_path / "data")
    code, _, err = command("experiment=your_data", f"dataset.root={root}", "run.progress=off", small_run=False)
    assert code == 2
    told = err.strip().splitlines()
    assert len(told) == 1
    assert "ImageNet weights of tf_efficientnet_lite0 cannot be downloaded (OSError: no route to host)" in told[0]
    assert "model.weights.a=null model.weights.b=null" in told[0]
    assert not list(tmp_path.rglob("plan.json"))


def test_advice_is_ready_to_paste(command, tmp_path):
    root = write_folder(tmp_path / "data", size=70)
    before = sorted(tmp_path.rglob("*"))
    code, out, err = command(*TINY, f"dataset.root={root}", "job=check", small_run=False)
    assert code == 0, err
    assert "suggested for 8 labelled and 2 unlabelled images, usually 70x70, on cpu" in out
    line = next(line for line in out.splitlines() if line.startswith("  dataset.augment.crop="))
    assert "dataset.augment.crop=[64,64] run.accumulate=1" in line
    assert "schedule.start.steps=10 schedule.rounds.steps=10" in line
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written"
    pasted = parts_of(*TINY, f"dataset.root={root}", *line.split())
    assert pasted.plan == parts_of(*TINY, f"dataset.root={root}").plan
    assert "validation: the 2 images that" in out
    assert "masks: index, as all 10 masks show" in out
    code, out, _ = command(*TINY, f"dataset.root={root}", "job=check", "job.advice=false", small_run=False)
    assert "suggested" not in out


def advice(root, monkeypatch, free: int | None, *overrides: str) -> Advice:
    monkeypatch.setattr("dmtc.checking.advice.free_bytes", lambda device: free)
    components = parts_of(*TINY, f"dataset.root={root}", *overrides)
    found = advise(components, check_data(components))
    assert found is not None
    return found


@pytest.mark.slow
def test_advice_fits_into_the_memory(tmp_path, monkeypatch):
    root = write_folder(tmp_path, size=300)
    plenty = advice(root, monkeypatch, 10**12)
    assert plenty.overrides[:2] == ["dataset.augment.crop=[256,288]", "run.accumulate=1"]
    need = next(float(reason.split("about ")[1].split()[0]) for reason in plenty.reasons if "batch" in reason)
    assert need > 0.1
    half = advice(root, monkeypatch, int(0.6e9 * need))
    assert half.overrides[:2] == ["dataset.augment.crop=[256,288]", "run.accumulate=4"]
    little = advice(root, monkeypatch, int(0.2e9 * need))
    assert little.overrides[1] == "run.accumulate=4"
    assert little.overrides[0] != half.overrides[0]
    nothing = advice(root, monkeypatch, 1000)
    assert "more than is free" in str(nothing)
    assert "free memory unknown" in advice(root, monkeypatch, None).title


def test_advice_on_recipes_with_lengths_of_their_own_and_on_large_pictures(tmp_path, monkeypatch):
    root = write_folder(tmp_path, size=64)
    monkeypatch.setattr("dmtc.checking.advice._LARGE_PIXELS", 4000)
    given = advice(root, monkeypatch, None, "schedule.start.steps=5", "schedule.rounds.steps=6")
    assert not any(override.endswith("steps=5") for override in given.overrides)
    assert "length: the recipe's own, 10 steps of the start, 12 steps of the rounds" in str(given)
    assert "shrink images (masks with nearest neighbor)" in str(given)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("tuning", "precision", "has", "told"),
    [
        ("frozen", "auto", True, True),
        ("frozen", "bfloat16", True, False),
        ("frozen", "auto", False, False),
        ("full", "auto", True, False),
    ],
)
def test_bfloat16_is_suggested_where_it_is_faster(tmp_path, monkeypatch, tuning, precision, has, told):
    monkeypatch.setattr("dmtc.checking.advice.multiplies_in_bfloat16", lambda: has)
    given = advice(write_folder(tmp_path), monkeypatch, None, f"model/tuning={tuning}", f"run.precision={precision}")
    assert ("run.precision=bfloat16" in given.overrides) == told
    assert ("precision: this processor" in str(given)) == told


def test_no_advice_where_settings_are_at_fault(tmp_path):
    root = write_folder(tmp_path, unmasked=0)
    components = parts_of(*TINY, f"dataset.root={root}", "split.ratio=1/100")
    assert advise(components, check_data(components)) is None
