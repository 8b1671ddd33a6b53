"""Metrics beside IoU: by hand, and on their way into everything that is written of a run."""

import json

import pytest
import torch

import dmtc
from dmtc.core.errors import ConfigError
from dmtc.engine.checks import settle
from dmtc.evaluation import METRICS, MetricValue, scores_of
from dmtc.tracking import phase_values

COUNTS = torch.tensor([[6, 2, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0], [2, 0, 0, 0]])
"""Class 2 is in neither the truth nor the prediction, class 3 is never predicted."""


def test_by_hand():
    of = scores_of(COUNTS, "left_out", ["accuracy", "precision", "recall", "f1"]).metrics
    assert of["accuracy"] == MetricValue(pytest.approx(9 / 14))
    assert of["precision"].per_class == (pytest.approx(6 / 9), pytest.approx(3 / 5), None, None)
    assert of["recall"].per_class == (pytest.approx(6 / 8), pytest.approx(3 / 4), None, 0.0)
    assert of["f1"].per_class == (pytest.approx(12 / 17), pytest.approx(6 / 9), None, 0.0)
    assert of["recall"].overall == pytest.approx((6 / 8 + 3 / 4 + 0) / 3)


@pytest.mark.parametrize(("absent", "mean"), [("zero", (12 / 17 + 6 / 9) / 4), ("undefined", float("nan"))])
def test_absent_classes_follow_the_rule_of_miou(absent, mean):
    assert scores_of(COUNTS, absent, ["f1"]).metrics["f1"].overall == pytest.approx(mean, nan_ok=True)


def test_dice_follows_from_iou():
    scores = scores_of(COUNTS, "left_out", ["f1"])
    expected = tuple(None if iou is None else pytest.approx(2 * iou / (1 + iou)) for iou in scores.iou)
    assert scores.metrics["f1"].per_class == expected


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("[f2]", "evaluation.metrics: unknown metric 'f2'"),
        ("f1", "evaluation.metrics should be a list of metrics"),
        ("[f1,f1]", "names a metric twice"),
        ("[iou]", "unknown metric 'iou'"),
        ("[3]", "evaluation.metrics"),
        ("null", "evaluation.metrics"),
    ],
)
def test_other_names_are_refused(names, told):
    with pytest.raises(ConfigError, match=told.replace("[", r"\[")):
        settle(dmtc.compose([f"evaluation.metrics={names}"]))


def test_one_function_brings_a_number_everywhere(small, tmp_path, command):
    """Into metrics.jsonl, a logger, results.json, results.txt, the report, job=evaluate and a sweep's table."""

    @METRICS.register("first")
    def first(*, counts):
        share = (counts[0].sum() / counts.sum()).item()
        return MetricValue(share, tuple(float(n) for n in range(len(counts))))

    folder = tmp_path / "run"
    written = ["logger=csv", "run.report=true"]
    run = dmtc.train(dmtc.compose([*small, "method=cbst", "evaluation.metrics=[first,f1]", *written]), folder)
    code, out, err = command("job=evaluate", f"run={folder}", small_run=False)
    assert code == 0, err
    code, _, err = command("job=report", f"runs={tmp_path}", small_run=False)
    assert code == 0, err
    code, out, err = command("job=evaluate", f"run={folder}", "job.metrics=[recall]", small_run=False)
    assert code == 0, err
    assert "recall" in out
    value = run.results["metrics"]["first"]["a"]
    assert 0 < value < 1
    assert set(run.results["metrics"]) == {"first", "f1"}
    assert list(run.results["per_class"]["first"].values()) == [float(n) for n in range(run.task.num_classes)]
    assert [line["first"] for line in run.metrics if "miou" in line][-1] == value
    assert ",first," in (folder / "metrics.csv").read_text().splitlines()[0]
    assert phase_values(run.folder.read_phase("r2-a"), run.task.classes)["rounds/a/first"] == value
    text = (folder / "results.txt").read_text()
    assert f"first: a {100 * value:.1f}" in text
    assert "first" in next(line for line in text.splitlines() if line.startswith("class"))
    assert ">first<" in (folder / "report.html").read_text()
    stored = json.loads((folder / "evaluation-last.json").read_text())["protocols"]["original"]
    assert stored["metrics"]["a"].keys() == {"recall"}
    assert "first_a" in (tmp_path / "report" / "runs.csv").read_text()
