"""All runs below a folder: which are put together, which are compared, and what is said of the others."""

import csv
import json
import math
import os
import re
import runpy
import shlex
import time
from pathlib import Path

import pytest
import yaml

import dmtc
from dmtc.cli.main import translate
from dmtc.cli.sweeping import seconds_left
from dmtc.core.errors import DataError
from dmtc.engine.checks import settle
from dmtc.report.sweeps import write_sweep_report
from dmtc.report.sweeps.finding import read_runs
from dmtc.report.sweeps.grouping import group
from dmtc.report.sweeps.paired import paired_gain, t_quantile, within
from dmtc.report.sweeps.sweep_charts import class_table, score_charts
from dmtc.report.sweeps.sweep_tables import details, latex, markdown, overview
from dmtc.run.changes import settings_that_count
from dmtc.run.sweep_folder import Job, Status, SweepFolder, write_status

ROOT = Path(__file__).parents[2]
BASELINES = ["supervised", "supervised_long"]


def write_run(folder: Path, method="supervised", seed=0, score=0.4, ratio="1/8", labelled=30, steps=(300,), **settings):
    """A run as its folder shows it; `settings` by dotted key with __ for the dots."""
    folder.mkdir(parents=True)
    config: dict = {
        "seed": seed,
        "job": {"name": "train"},
        "method": {"name": method},
        "model": {"name": "deeplabv2"},
        "dataset": {"name": "synthetic", "root": f"/machine/{seed}"},
        "split": {"name": "dmt", "ratio": ratio, "fold": 0},
        "loss": {"name": method, "gamma": 5.0, "contrastive": None},
        "schedule": {"name": method, "start": {"steps": steps[0]}, "rounds": {"steps": 100}},
        "teacher": {"name": "stored"},
        "views": {"name": "weak"},
        "mixing": {"name": "none"},
        "evaluation": {"name": "original", "absent": "left_out", "metrics": ["accuracy"]},
        "run": {"device": "cpu"},
        "logger": None,
        "tag": method,
        "imports": [],
        "resume": None,
        "run_dir": None,
    }
    for key, value in settings.items():
        *parts, last = key.split("__")
        part = config
        for name in parts:
            part = part.setdefault(name, {})
        part[last] = value
    networks = ["a", "b"] if len(steps) > 1 else ["a"]
    phases = [
        {
            "name": f"r{i}-{network}",
            "trainee": network,
            "label_from": None if i == 0 else f"r{i - 1}-{network}",
            "teacher": None,
            "steps": count,
            "iou_last": [score, None, 0.5],
            "peak_memory_bytes": 2**30,
        }
        for i, count in enumerate(steps)
        for network in networks
    ]
    results = {
        "method": method,
        "dataset": config["dataset"]["name"],
        "seed": seed,
        "seconds": 90.0,
        "cpu_seconds": 180.0,
        "device": "cpu",
        "split": {"ratio": ratio, "labelled": labelled, "unlabelled": 240 - labelled, "sha256": f"{ratio}"},
        "miou": {"mean_last": score, "ensemble": score + 0.01 if len(networks) > 1 else None},
        "per_class_iou": {"sky": score, "pole": None, "road": 0.5},
        "metrics": {"accuracy": {"a": 0.9}},
        "phases": phases,
        "environment": {"threads": 2},
    }
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def panels_of(folder, over=("seed",), baselines=BASELINES):
    return group(read_runs(folder), over, baselines)[0]


def rows_of(folder, **more):
    (panel,) = panels_of(folder, **more)
    return {(row.name, row.ratio): row for row in panel.rows}


def test_students_distribution():
    for freedom, quantile in ((1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (7, 2.365), (10, 2.228)):
        assert t_quantile(freedom) == pytest.approx(quantile, abs=5e-4)
    # Closed forms of the two smallest: Cauchy, and t / sqrt(2 + t^2).
    assert within(1.0, 1) == pytest.approx(0.5)
    assert within(3.0, 2) == pytest.approx(3 / math.sqrt(11))
    for freedom in range(1, 12):
        assert within(0.0, freedom) == 0
        assert within(1e4, freedom) == pytest.approx(1, abs=1e-3)


def test_paired_gain():
    gain = paired_gain([0.01, 0.03, 0.02])
    # By hand: standard deviation 0.01, error 0.01 / sqrt(3), t = 2 sqrt(3); 2 degrees of freedom.
    t = 2 * math.sqrt(3)
    assert (gain.mean, gain.won, gain.pairs) == (pytest.approx(0.02), 3, 3)
    assert gain.p == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert gain.margin == pytest.approx(4.30265 * 0.01 / math.sqrt(3), rel=1e-5)
    assert paired_gain([-0.01]).margin is None
    assert paired_gain([0.01, 0.01]).p is None


def test_seeds_are_put_together_and_compared_seed_by_seed(tmp_path):
    for seed in range(3):
        write_run(tmp_path / f"s{seed}", "supervised", seed, 0.30 + 0.01 * seed)
        write_run(tmp_path / f"d{seed}", "dmtc", seed, 0.40 + 0.02 * seed, steps=(300, 100, 100))
    write_run(tmp_path / "d7", "dmtc", 7, 0.9, steps=(300, 100, 100))  # no baseline of this seed
    (panel,) = panels_of(tmp_path)
    rows = {row.method: row for row in panel.rows}
    assert list(rows["dmtc"].runs) == [("0",), ("1",), ("2",), ("7",)]
    assert rows["dmtc"].mean == pytest.approx((0.4 + 0.42 + 0.44 + 0.9) / 4)
    gain = rows["dmtc"].gains["supervised"]
    assert (gain.mean, gain.pairs) == (pytest.approx(0.11), 3)
    header, lines = details(panel, BASELINES, ["seed"])
    assert header == [
        "labelled",
        "method",
        "mIoU",
        "over supervised",
        "ensemble",
        "CPU-minutes",
        "peak GB",
        "seed",
    ]
    assert lines[0] == ["1/8 (30)", "supervised", "31.0 ± 1.0", "", "", "3.0", "1.0", "0 1 2"]
    assert lines[1][3] == "+11.0 [+8.5, +13.5] p 0.003 3/3"
    assert overview(panel)[1] == [["supervised", "31.0 ± 1.0"], ["dmtc", "54.0 ± 24.1"]]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"loss__gamma": 3.0}, "dmt loss.gamma=3"),
        ({"schedule__rounds__steps": 40}, "dmt schedule.rounds.steps=40"),
        ({"split__fold": 1}, "dmt split.fold=1"),
        ({"model__backbone__name": "resnet101"}, "dmt model.backbone=resnet101"),
        ({"loss__contrastive": {"name": "regional", "weight": 1}}, "dmt loss.contrastive=regional"),
    ],
)
def test_runs_with_other_settings_are_not_put_together(tmp_path, settings, name):
    shared = {"steps": (300, 100), "model__backbone__name": "resnet50"}
    write_run(tmp_path / "a", "dmt", 0, 0.4, **shared)
    write_run(tmp_path / "b", "dmt", 1, 0.5, **{**shared, **settings})
    rows = rows_of(tmp_path)
    assert len(rows) == 2
    assert (name, "1/8") in rows


def test_runs_scored_in_another_way_come_on_other_axes(tmp_path):
    write_run(tmp_path / "a", "dmt", 0, 0.4)
    write_run(tmp_path / "b", "supervised", 0, 0.5, evaluation__name="padded")
    write_run(tmp_path / "c", "dmt", 0, 0.5, dataset__name="camvid")
    panels = panels_of(tmp_path)
    assert [panel.title for panel in panels] == [
        "camvid",
        "synthetic, evaluation.name=original",
        "synthetic, evaluation.name=padded",
    ]
    assert not any(row.gains for panel in panels for row in panel.rows)


def test_what_cannot_change_results_sets_nothing_apart(tmp_path):
    write_run(tmp_path / "a", "dmt", 0, 0.4, run__device="cpu", dataset__root="/here", run__workers=0)
    write_run(tmp_path / "b", "dmt", 1, 0.5, run__device="cuda", dataset__root="/there")
    (row,) = rows_of(tmp_path).values()
    assert len(row.runs) == 2


def test_what_is_told_beside_the_score_sets_nothing_apart(tmp_path):
    """Further metrics, and which weights are the best; runs from before these options have none of them."""
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", seed=1, run__monitor="f1", evaluation__metrics=["f1"])
    write_run(tmp_path / "c", seed=2, evaluation__metric_options={"boundary_f1": {"tolerance": 3.0, "unit": "pixels"}})
    (row,) = rows_of(tmp_path).values()
    assert len(row.runs) == 3


def test_only_what_the_command_line_gave_is_shown(tmp_path):
    for seed, gamma in enumerate((1.0, 3.0)):
        run = write_run(tmp_path / f"{seed}", "dmt", 0, 0.4, loss__gamma=gamma, loss__a__exponent=gamma)
        (run / "environment.json").write_text(json.dumps({"command": ["run.py", f"loss.gamma={gamma}", "seed=0"]}))
    assert {name for name, _ in rows_of(tmp_path)} == {"dmt loss.gamma=1", "dmt loss.gamma=3"}


def test_a_setting_that_follows_from_the_ratio_is_not_shown(tmp_path):
    for ratio, epochs in (("1/8", 85), ("1/20", 134)):
        for method in ("supervised", "dmt"):
            write_run(tmp_path / f"{method}{epochs}", method, 0, 0.4, ratio, epochs, schedule__start__epochs=epochs)
    rows = rows_of(tmp_path)
    assert set(rows) == {(method, ratio) for method in ("supervised", "dmt") for ratio in ("1/8", "1/20")}
    assert all(row.gains for row in rows.values() if row.method == "dmt")


def test_gains_are_fair(tmp_path):
    """A baseline has other lengths in its config, and is as long as the start, or as start and rounds together."""
    long = {"schedule__rounds__steps": 50, "schedule__start__steps": 400}
    write_run(tmp_path / "s", "supervised", 0, 0.40, steps=(300,))
    write_run(tmp_path / "l", "supervised_long", 0, 0.42, steps=(500,), **long)
    write_run(tmp_path / "d", "dmt", 0, 0.45, steps=(300, 100, 100))
    gains = rows_of(tmp_path)["dmt", "1/8"].gains
    assert gains["supervised"].mean == pytest.approx(0.05)
    assert gains["supervised_long"].mean == pytest.approx(0.03)

    write_run(tmp_path / "other" / "s", "supervised", 0, 0.40, steps=(450,))
    write_run(tmp_path / "other" / "d", "dmt", 0, 0.45, steps=(300, 100, 100))
    assert rows_of(tmp_path / "other")["dmt", "1/8"].gains == {}

    write_run(tmp_path / "third" / "s", "supervised", 0, 0.40, model__width=8)
    write_run(tmp_path / "third" / "d", "dmt", 0, 0.45, model__width=16, steps=(300, 100, 100))
    assert not any(row.gains for row in rows_of(tmp_path / "third").values())


def test_a_baseline_with_a_swept_setting_that_it_has_no_use_for(tmp_path):
    for gamma in (1.0, 3.0):
        write_run(tmp_path / f"s{gamma}", "supervised", 0, 0.4 + gamma / 100, loss__gamma=gamma)
        write_run(tmp_path / f"d{gamma}", "dmt", 0, 0.5, loss__gamma=gamma, steps=(300, 100))
    rows = rows_of(tmp_path)
    assert rows["dmt loss.gamma=1", "1/8"].gains["supervised"].mean == pytest.approx(0.09)
    assert rows["dmt loss.gamma=3", "1/8"].gains["supervised"].mean == pytest.approx(0.07)


FOCAL = {"loss__focal": {"name": "focal", "gamma": 2.0, "weight": {"start": 0.5, "rounds": 0.0}}}


def test_a_setting_that_some_runs_lack_sets_them_apart(tmp_path):
    write_run(tmp_path / "plain", "supervised", 0, 0.4)
    write_run(tmp_path / "focal", "supervised", 1, 0.5, **FOCAL)
    write_run(tmp_path / "off", "supervised", 2, 0.4, loss__focal=None)
    rows = rows_of(tmp_path)
    assert set(rows) == {("supervised", "1/8"), ("supervised loss.focal=focal", "1/8")}
    assert list(rows["supervised", "1/8"].runs) == [("0",), ("2",)], "a term that is off is one that is not there"


@pytest.mark.parametrize("values", [(1.0, 1.00001), (1, 1.0), ("none", None), ("1", 1), ("", "x"), ([1], "[1]")])
def test_values_that_look_alike_are_told_apart(tmp_path, values):
    for seed, value in enumerate(values):
        write_run(tmp_path / str(seed), "dmt", seed, 0.4, model__option=value)
    assert len({name for name, _ in rows_of(tmp_path)}) == 2


def test_a_seed_that_is_not_averaged_over_is_another_row(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / str(seed), "dmt", seed, 0.4 + seed / 10)
    assert {name for name, _ in rows_of(tmp_path, over=["split.fold"])} == {"dmt seed=0", "dmt seed=1"}


def test_a_baseline_has_no_term_that_the_method_has_not(tmp_path):
    write_run(tmp_path / "focal", "supervised", 0, 0.45, **FOCAL)
    write_run(tmp_path / "dmt", "dmt", 0, 0.5, steps=(300, 100))
    assert not any(row.gains for row in rows_of(tmp_path).values())
    write_run(tmp_path / "plain", "supervised", 0, 0.40)
    write_run(tmp_path / "both", "dmt", 0, 0.52, steps=(300, 100), **FOCAL)
    rows = rows_of(tmp_path)
    assert rows["dmt", "1/8"].gains["supervised"].mean == pytest.approx(0.10)
    assert rows["dmt loss.focal=focal", "1/8"].gains["supervised"].mean == pytest.approx(0.07)


def with_data(folder, labelled="a", val="b"):
    """Say what the files of a run held."""
    data = {"classes": ["sky"], "labelled": {"1": [labelled, "m"]}, "val": {"2": [val, "m"]}, "test": {}}
    (folder / "split.json").write_text(json.dumps({"data": data}))
    settings = settings_that_count(yaml.safe_load((folder / "config.yaml").read_text()))
    recorded = {"sha256": "", "settings": settings, "starting_weights": {}}
    (folder / "settings.json").write_text(json.dumps(recorded))


def test_other_data_under_the_same_names_are_not_put_together(tmp_path):
    for name, seed, more in (("one", 0, {}), ("two", 1, {}), ("masks", 2, {"labelled": "c"}), ("val", 3, {"val": "c"})):
        root = f"/{name}/data"
        with_data(write_run(tmp_path / name, "dmt", seed, 0.4, dataset__images=root, split__labelled=root), **more)
    panels = panels_of(tmp_path)
    assert sorted(sorted(len(row.runs) for row in panel.rows) for panel in panels) == [[1], [1, 2]]
    assert all("dataset.validation_files=" in panel.title for panel in panels)


def test_runs_of_other_versions_of_the_code_are_told(tmp_path):
    for seed, commit in enumerate(("a" * 40, "b" * 40, "b" * 40)):
        path = write_run(tmp_path / str(seed), "dmt", seed, 0.4) / "results.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"commit": commit}))
    _, remarks = group(read_runs(tmp_path), ["seed"], BASELINES)
    assert remarks == ["dmt, 1/8: its runs are from 2 versions of the code (aaaaaaaa, bbbbbbbb)"]


def test_a_run_whose_settings_were_changed_by_hand_is_listed_and_not_counted(tmp_path, finished):
    import shutil

    write_run(tmp_path / "fine", "dmt", 0, 0.4)
    path = shutil.copytree(finished.folder.path, tmp_path / "edited") / "config.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 8", 1))
    (write_run(tmp_path / "cut", "dmt", 1, 0.4) / "config.yaml").write_text("run:\n")
    reasons = {record.name: record.reason for record in read_runs(tmp_path) if record.state == "failed"}
    assert "config.yaml was changed after the run started; seed cannot be changed (seed: 0 -> 8)" in reasons["edited"]
    assert "config.yaml is damaged" in reasons["cut"]
    assert set(reasons) == {"edited", "cut"}


def test_folds_are_averaged_over_where_there_are_several(tmp_path):
    for method, scores in (("supervised", (0.3, 0.5)), ("dmt", (0.4, 0.7))):
        for fold, score in enumerate(scores):
            write_run(tmp_path / "folds" / f"{method}{fold}", method, score=score, split__fold=fold)
            write_run(tmp_path / "seeds" / f"{method}{fold}", method, score=score, seed=fold)
    text = write_sweep_report(tmp_path / "folds", dmtc.Sweep(tmp_path / "folds").over, BASELINES)[0]
    (line,) = [line for line in text.splitlines() if line.startswith("| 1/8") and "| dmt " in line]
    assert "55.0 ± 21.2" in line
    assert "+15.0" in line
    assert dmtc.Sweep(tmp_path / "folds").over == ["seed", "split.fold"]
    assert dmtc.Sweep(tmp_path / "seeds").over == ["seed"], "no run has another fold"
    text = write_sweep_report(tmp_path / "seeds", ["seed", "split.fold"], BASELINES)[0]
    assert re.search(r"\| seed +\|", text)


def test_folds_can_be_averaged_over(tmp_path):
    for fold in (0, 1):
        run = write_run(tmp_path / f"{fold}", "dmt", 0, 0.4 + 0.1 * fold, split__fold=fold)
        results = json.loads((run / "results.json").read_text())
        results["split"]["sha256"] = str(fold)
        (run / "results.json").write_text(json.dumps(results))
    assert len(rows_of(tmp_path)) == 2
    (row,) = rows_of(tmp_path, over=["seed", "split.fold"]).values()
    assert list(row.runs) == [("0", "0"), ("0", "1")]


def test_other_labelled_images_of_the_same_number_are_another_row(tmp_path):
    for i in (0, 1):
        run = write_run(tmp_path / f"{i}", "dmt", i, 0.4)
        text = (run / "results.json").read_text().replace('"sha256": "1/8"', f'"sha256": "{i}abcdefghij"')
        (run / "results.json").write_text(text)
    assert {name for name, _ in rows_of(tmp_path)} == {"dmt labelled set=0abcdefg", "dmt labelled set=1abcdefg"}


def test_the_same_run_made_twice(tmp_path):
    write_run(tmp_path / "first", "dmt", 0, 0.4)
    write_run(tmp_path / "second", "dmt", 0, 0.5)
    os.utime(tmp_path / "first" / "results.json", (time.time() - 99,) * 2)
    panels, remarks = group(read_runs(tmp_path), ["seed"], BASELINES)
    assert panels[0].rows[0].scores == [0.5]
    assert remarks == ["first is left out: second is a later repetition of the same run"]


def test_what_is_not_finished_is_listed_and_spoils_nothing(tmp_path, finished):
    write_run(tmp_path / "fine", "dmt", 0, 0.4)
    write_run(tmp_path / "nan", "dmt", 1, math.nan)
    (write_run(tmp_path / "damaged", "dmt", 2) / "results.json").write_text("{")
    (write_run(tmp_path / "poor", "dmt", 3) / "results.json").write_text("{}")
    write_status(tmp_path / "failed", Status(("method=dmt",), "failed", 0.0, 1.0, None, "no room"))
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    for name in ("config.yaml", "settings.json", "environment.json", "split.json", "task.json", "plan.json"):
        (stopped / name).write_bytes((finished.folder.path / name).read_bytes())
    (stopped / "phases" / "r0-a").mkdir(parents=True)
    of_phase = Path("phases", "r0-a", "phase.json")
    (stopped / of_phase).write_bytes((finished.folder.path / of_phase).read_bytes())
    sweep = SweepFolder(tmp_path)
    jobs = [Job("loss=x", ("loss=x",), 0.0, "no such loss"), Job("method=dmt", ("method=dmt",), 0.0)]
    sweep.write_jobs([*jobs, Job("method=dmtc", ("method=dmtc",), 0.0)])

    text, page = write_sweep_report(tmp_path, ["seed"], BASELINES)
    found = {r.name: (r.state, r.reason) for r in read_runs(tmp_path) if r.state != "finished"}
    assert found["nan"] == ("failed", "its mIoU is NaN, because a class is absent and evaluation.absent=undefined")
    assert found["damaged"][1].startswith("results.json is damaged: Expecting property name")
    assert found["poor"] == ("failed", "results.json is damaged: it has no 'method'")
    assert found["failed"] == ("failed", "no room")
    assert found["stopped"][0] == "unfinished"
    assert found["stopped"][1].startswith("1 of 6 phases done, now r0-b, last sign at 20")
    assert found["loss=x"] == ("not started", "no such loss")
    assert found["method=dmtc"][0] == "not started"
    assert len(found) == 7
    assert "| dmt    | 40.0     |" in text
    for name in found:
        assert name in text
        assert name in page.read_text()


def test_a_folder_of_nothing(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DataError, match="no finished run below"):
            write_sweep_report(folder, ["seed"], BASELINES)


def small_sweep(folder: Path) -> None:
    for seed in (0, 1):
        for ratio, labelled in (("1/20", 12), ("1/8", 30)):
            write_run(folder / f"s{seed}{labelled}", "supervised", seed, 0.3 + labelled / 200, ratio, labelled)
            write_run(folder / f"d{seed}{labelled}", "dmt", seed, 0.35 + labelled / 200, ratio, labelled, (300, 100))
    write_run(folder / "full", "supervised", 0, 0.6, "full", 240)


def test_files_of_a_report(tmp_path):
    small_sweep(tmp_path / "sweep")
    text, page = write_sweep_report(tmp_path / "sweep", ["seed"], BASELINES, tmp_path / "out")
    assert page == tmp_path / "out" / "report.html"
    files = {path.name: path.stat().st_size for path in (tmp_path / "out" / "report").iterdir()}
    names = {"summary.md", "rows.csv", "runs.csv", "table.tex"}
    assert set(files) == names | {f"{stem}.{kind}" for stem in ("miou", "classes") for kind in ("png", "svg")}
    assert (tmp_path / "out" / "report" / "summary.md").read_text().startswith(text)
    with open(tmp_path / "out" / "report" / "rows.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    dmt = next(row for row in rows if row["method"] == "dmt" and row["ratio"] == "1/8")
    assert float(dmt["miou_mean"]) == pytest.approx(0.5), "shares, not percent"
    assert float(dmt["gain_over_supervised"]) == pytest.approx(0.05)
    with open(tmp_path / "out" / "report" / "runs.csv") as file:
        assert float(next(csv.DictReader(file))["iou_road"]) == 0.5

    html = page.read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html), "everything is inside"
    assert "url(http" not in html
    assert html.count("<svg") == 1
    assert "prefers-color-scheme: dark" in html
    assert "#0072b2" not in html.split("</style>")[1], "charts follow the page's colors"


def test_latex(tmp_path):
    small_sweep(tmp_path)
    (panel,) = panels_of(tmp_path)
    lines = latex(panel).splitlines()
    assert lines[3] == r"method & 1/20 (12) & 1/8 (30) & full (240) \\"
    assert lines[6] == r"dmt & \textbf{41.0} {\scriptsize$\pm$0.0} & \textbf{50.0} {\scriptsize$\pm$0.0} &  \\"


def test_markdown_escapes_and_aligns():
    assert markdown((["a", "b"], [["x|y", "1"]])) == "| a    | b   |\n| ---- | --- |\n| x\\|y | 1   |\n"


def test_charts(tmp_path):
    small_sweep(tmp_path)
    (panel,) = panels_of(tmp_path)
    (chart,) = score_charts(panel)
    svg = chart.svg()
    for shown in ("dmt", "supervised, all 240 labels", "1/20", "var(--method-dmt)"):
        assert shown in svg
    classes, lines = class_table(panel)
    assert classes == ["sky", "pole", "road"]
    assert lines[1] == ("1/20  dmt", [pytest.approx(0.41), None, 0.5])
    # Many lines, as a search has, are lists of points instead, one for each number of labels.
    for i in range(9):
        write_run(tmp_path / f"g{i}", "dmt", 0, 0.4, "1/8", 30, loss__gamma=i / 10)
    assert [chart.title for chart in score_charts(panels_of(tmp_path)[0])] == [
        "mIoU, %, with 1/20 labelled (12)",
        "mIoU, %, with 1/8 labelled (30)",
    ]


def test_sweep_from_the_command_line(command, tmp_path):
    arguments = ("-m", "method=supervised,nonsense", "split.ratio=1/8,1/1000", "seed=0", "hydra.sweep.dir=sweep")
    code, out, err = command(*arguments)
    assert code == 2
    expected = [
        r"not started: method=nonsense,split.ratio=1/8: method=nonsense: there is no such choice; choose from .*",
        r"not started: method=nonsense,split.ratio=1/1000: .*",
        r"\[1 of 2\] method=supervised,split.ratio=1/8: mIoU \d+\.\d in \d+ s; about \d+ s left",
        r"\[2 of 2\] method=supervised,split.ratio=1/1000: failed: split.ratio=1/1000 of 24 images .*",
        r"error: of 4 jobs 2 could not be started and 1 failed \(the first: split.ratio=1/1000 of .*\); see above",
    ]
    lines = [line for line in err.splitlines() if line.startswith(("[", "not started", "error"))]
    assert len(lines) == len(expected)
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line)
    assert "| supervised | " in out
    assert "supervised start" not in out, "a run's own table would be too much here"
    assert (tmp_path / "sweep" / "report.html").is_file()
    states = {status.overrides[-2]: status.state for status in SweepFolder(tmp_path / "sweep").statuses()}
    assert states == {"split.ratio=1/8": "done", "split.ratio=1/1000": "failed"}

    code, out, err = command("-m", "method=supervised", "split.ratio=1/8", "seed=0,1", "hydra.sweep.dir=sweep")
    assert code == 0, err
    assert "[1 of 2] seed=0: mIoU" in err, "an earlier command's runs in the same folder are not counted"
    assert "| 0 1" in out
    code, out, _ = command("job=report", "runs=sweep", small_run=False)
    assert code == 0
    assert "method=supervised,split.ratio=1-1000 | failed" in out
    assert command("job=report", small_run=False)[0] == 2
    assert command("job=report", "runs=nowhere", small_run=False)[0] == 2


def status_of(overrides, began, ended):
    return Status(tuple(overrides), "done", began, ended)


def test_time_left_is_of_runs_alike_and_as_many_side_by_side():
    done = [status_of(["loss=a", "seed=0"], 0, 10), status_of(["loss=b", "seed=0"], 10, 110)]
    pending = {("loss=a", "seed=1"), ("loss=b", "seed=1")}
    assert seconds_left(pending, done) == pytest.approx(110)
    assert seconds_left({("loss=b", "seed=1")}, done) == pytest.approx(100)
    at_once = [status_of(["loss=a", "seed=0"], 0, 100), status_of(["loss=b", "seed=0"], 0, 100)]
    assert seconds_left(pending, at_once) == pytest.approx(100)
    assert seconds_left(set(), done) is None
    assert seconds_left(pending, []) is None


@pytest.mark.parametrize("name", ["builtin", "camvid", "ratios"])
def test_tables_of_scores(name, tmp_path):
    """Made anew by docs/making/sweeps.py, it leaves the rest as it was, and made twice it is the same."""
    script = runpy.run_path(str(ROOT / "docs" / "making" / "sweeps.py"))
    sweep = script["SWEEPS"][name]
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert page.count(sweep.begin) == 1
    assert script["END"] in page.split(sweep.begin)[1]
    small_sweep(tmp_path)
    made = script["with_sweep"](page, sweep, tmp_path)
    between = made.split(sweep.begin)[1].split(script["END"])[0]
    assert sweep.picture is None or f"({sweep.picture})" in between
    gain = r" \+5\.0" if "supervised" in sweep.baselines else ""
    assert re.search(rf"\| 1/8 \(30\) +\| dmt +\| 50\.0 ± 0\.0 \|{gain}", between)
    for command in sweep.commands:
        assert command in between
    assert script["with_sweep"](made, sweep, tmp_path) == made

    def outside(text):
        before, _, rest = text.partition(sweep.begin)
        return before, rest.partition(script["END"])[2]

    assert outside(made) == outside(page)


def test_commands_of_the_page_compose():
    page = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [line.removeprefix("dmtc ") for line in page.splitlines() if line.startswith("dmtc ")]
    assert len(commands) >= 6
    for command in commands:
        given = [a for a in translate(shlex.split(command)) if not a.startswith(("-m", "hydra"))]
        plain = [re.sub(r"=(?:tag\(\w+,)?interval\(([\d.]+),[\d.]+\)+$", r"=\1", a) for a in given]
        one_value = [a if "[" in a else re.sub(r"^([^=]+=[^,]+),.*", r"\1", a) for a in plain]
        settle(dmtc.compose(one_value))
