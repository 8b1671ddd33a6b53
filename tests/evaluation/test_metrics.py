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
        ("[boundry_f1]", "unknown metric 'boundry_f1'. Did you mean 'boundary_f1'?"),
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


def test_dice_is_another_name_of_f1():
    of = scores_of(COUNTS, "left_out", ["f1", "dice"]).metrics
    assert of["dice"] == of["f1"]


def binary_iou(counts, foreground, classes):
    options = {"binary_iou": {"foreground": foreground}}
    return scores_of(counts, "left_out", ["binary_iou"], options, classes).metrics["binary_iou"]


@pytest.mark.parametrize(
    ("foreground", "value", "whose"),
    [(None, 3 / 6, "of crack"), ("crack", 3 / 6, "of crack"), ("wall", 6 / 9, "of wall"), (0, 6 / 9, "of wall")],
)
def test_binary_iou_is_of_the_foreground(foreground, value, whose):
    assert binary_iou(COUNTS[:2, :2], foreground, ["wall", "crack"]) == MetricValue(pytest.approx(value), note=whose)


def test_binary_iou_of_one_of_many_classes():
    assert binary_iou(COUNTS, "a", list("abcd")).overall == pytest.approx(6 / 11)


@pytest.mark.parametrize(
    ("classes", "foreground", "told"),
    [
        (["wall", "crack"], "crak", "unknown class 'crak'. Did you mean 'crack'?"),
        (["wall", "crack"], 2, "should be a class from 0 to 1, but is 2"),
        (["a", "b", "c"], None, "should name one of the 3 classes: a, b, c"),
    ],
)
def test_a_foreground_that_is_none_is_refused(classes, foreground, told):
    with pytest.raises(ConfigError, match=told):
        binary_iou(COUNTS[: len(classes), : len(classes)], foreground, classes)


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("evaluation.metric_options.boundary_f1.tolerance=wide", "evaluation.metric_options.boundary_f1.tolerance"),
        ("evaluation.metric_options.boundary_f1.unit=meters", "evaluation.metric_options.boundary_f1.unit"),
        ("+evaluation.metric_options.boundary_f1.width=3", "evaluation.metric_options.boundary_f1: unknown option"),
        ("+evaluation.metric_options.f2={beta: 2}", "evaluation.metric_options: unknown metric 'f2'"),
        ("+evaluation.metric_options.f1=3", "evaluation.metric_options should be options by the name of a metric"),
    ],
)
def test_other_options_are_refused(option, told):
    with pytest.raises(ConfigError, match=told):
        settle(dmtc.compose([option]))


def test_what_does_not_fit_the_classes_is_refused_before_training(command, small, tmp_path):
    for job in ([], ["job=plan"]):
        code, _, err = command(*job, "method=supervised", "evaluation.metrics=[binary_iou]")
        assert code == 2
        assert "binary_iou.foreground should name one of the" in err
        assert "r0-a" not in err
    code, _, err = command("evaluation.metrics=[boundary_f1]", "evaluation.metric_options.boundary_f1.tolerance=-1")
    assert code == 2
    assert "tolerance should be 0 or more" in err


def test_one_function_brings_a_number_everywhere(small, tmp_path, command):
    """Into metrics.jsonl, a logger, results.json, results.txt, the report, job=evaluate and a sweep's table."""

    @METRICS.register("first")
    def first(*, counts):
        share = (counts[0].sum() / counts.sum()).item()
        return MetricValue(share, tuple(float(n) for n in range(len(counts))))

    folder = tmp_path / "run"
    written = ["logger=csv", "run.report=true"]
    metrics = ["evaluation.metrics=[first,f1,image_miou,boundary_f1]"]
    run = dmtc.train(dmtc.compose([*small, "method=cbst", *metrics, *written]), folder)
    code, out, err = command("job=evaluate", f"run={folder}", small_run=False)
    assert code == 0, err
    assert next(line for line in out.splitlines() if line.startswith("class ")).split() == [
        *("class", "IoU", "first", "f1", "boundary_f1")
    ]
    assert f"image_miou: {100 * run.results['metrics']['image_miou']['a']:.1f}" in out
    stored = json.loads((folder / "evaluation-last.json").read_text())["protocols"]["original"]
    assert stored["metrics"]["a"] == {name: of["a"] for name, of in run.results["metrics"].items()}
    assert stored["confusion"]["a"] == run.results["confusion"]
    code, _, err = command("job=report", f"runs={tmp_path}", small_run=False)
    assert code == 0, err
    code, out, err = command("job=evaluate", f"run={folder}", "job.metrics=[recall]", small_run=False)
    assert code == 0, err
    assert "recall" in out
    value = run.results["metrics"]["first"]["a"]
    assert 0 < value < 1
    assert set(run.results["metrics"]) == {"first", "f1", "image_miou", "boundary_f1"}
    assert run.results["metric_notes"] == {"boundary_f1": "within 0.75 % of the diagonal"}
    counts = torch.tensor(run.results["confusion"])
    assert list(scores_of(counts, "left_out").iou) == list(run.results["per_class_iou"].values())
    assert (folder / "report" / "confusion.png").is_file()
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
    assert "first_mean" in (tmp_path / "report" / "rows.csv").read_text()
