"""The benchmarks still fit the library: their smallest works are done once. Nothing is timed."""

import runpy
from pathlib import Path

import pytest

import dmtc
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.report.sweeps.finding import read_runs

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """The names in a file of benchmarks."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))  # its files import each other
    return lambda name: runpy.run_path(str(BENCHMARKS / f"{name}.py"))


@pytest.fixture
def scaling(benchmark):
    return benchmark("scaling")


def test_reading_is_of_pictures_in_a_folder(scaling, tmp_path):
    scaling["reading"](tmp_path, images=4, side=48, crop=32)()
    assert len(list(tmp_path.glob("pictures-4-48/images/*.jpg"))) == 5  # one of them to score on


def test_labelling_fills_a_store(scaling, tmp_path):
    scaling["labelling"](tmp_path, images=8, side=41, classes=3)()
    assert len(list(tmp_path.glob("labels-*/*.zst"))) == 8


def test_the_plain_loop_trains_the_network_of_the_run_beside_it(benchmark, tmp_path):
    bare = benchmark("bare")
    options = ["method=fixmatch_ema", "run.precision=bfloat16", "model/tuning=frozen"]
    small = ["model.backbone.width=8", "model/backbone=tiny", "schedule.limit_steps=1"]
    root = bare["write_pictures"](tmp_path / "data")
    bare["measured"].__globals__.update(STEPS=1, CROP=32, NETWORK=["model=segformer", "model.weights.a=null", *small])
    row = bare["measured"](options, root, tmp_path, repeats=1)
    assert row["ratio"] == pytest.approx(row["library_images_per_s"] / row["bare_images_per_s"])
    assert len(list(tmp_path.glob("*/results.json"))) == 2


@pytest.mark.parametrize("method", ["supervised", "unimatch_v2"])
def test_the_plain_loop_has_images_of_the_size_that_the_run_trains_on(benchmark, tmp_path, method):
    bare = benchmark("bare")
    root = bare["write_pictures"](tmp_path / "data")
    network = ["model=segformer", "model/backbone=tiny", "model.backbone.width=8", "model.weights.a=null"]
    dataset = ["dataset=folder", f"dataset.root={root}", f"dataset.augment.crop=[{bare['CROP']},{bare['CROP']}]"]
    config = settle(dmtc.compose([f"method={method}", *dataset, *network, *bare["RUN"]]))
    assert Components(config).augment.crop == [bare["CROP"]] * 2, "the pictures cap it"
    config["dataset"]["augment"]["crop"] = [999, 64]
    capped = bare["PlainLoop"](config, 0, 8, tmp_path)
    assert list(capped.images.shape[-2:]) == list(Components(config).augment.crop) == [bare["SIZE"][1] // 32 * 32, 64]


def test_the_guard_names_what_became_slower(benchmark):
    slower = benchmark("guard")["slower"]
    stored = {"training": 1.0, "loading": 2.0, "contrast": 0.5, "gone": 3.0}
    assert slower({"training": 0.86, "loading": 1.69, "contrast": 9.0}, stored) == [
        "loading: 1.690 is 0.84 of the stored 2.000"
    ]
    assert slower({"new": 1.0}, stored) == ["new: not stored yet; use --store"]


def test_networks_for_a_gpu_are_choices_whose_crops_the_pictures_hold(benchmark, tmp_path):
    gpu = benchmark("gpu")
    root = gpu["write_pictures"](tmp_path / "data", gpu["SIZE"])
    for crop, options in gpu["NETWORKS"].values():
        for method in gpu["METHODS"]:
            dataset = [
                "dataset=folder",
                f"dataset.root={root}",
                f"dataset.augment.crop=[{crop},{crop}]",
                "split.ratio=1/2",
            ]
            config = settle(dmtc.compose([f"method={method}", *options, *dataset]))
            assert Components(config).augment.crop == [crop, crop]


def test_what_needs_a_gpu_is_tried_on_small_networks(benchmark):
    gpu = benchmark("gpu")
    ((_, (crop, options)),) = gpu["TINY"].items()
    own = [*options, f"dataset.augment.crop=[{crop},{crop}]", "run.device=cpu", "method=unimatch_v2"]
    row = gpu["_row"](own, 1, 1)
    assert row["ratio"] > 0
    assert row["waits_per_step"] is None


def test_many_runs_are_made_of_short_ones(benchmark, tmp_path):
    many = benchmark("many")
    short = {method: many["_short_run"](tmp_path, method) for method in ("supervised", "dmt")}
    many["_copies"].__globals__["METHODS"] = tuple(short)
    many["_copies"](short, tmp_path / "runs", 8)
    runs = read_runs(tmp_path / "runs")
    assert [run.state for run in runs] == ["finished"] * 8, [run.reason for run in runs]
    assert len({(run.method, run.settings["seed"]) for run in runs}) == 8
