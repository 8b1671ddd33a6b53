"""`run.monitor`: the metric that the best weights of a phase follow."""

import itertools
import math

import pytest

import dmtc
from dmtc.core.errors import ConfigError
from dmtc.engine.checks import settle
from dmtc.engine.phase_log import PhaseLog, best_of
from dmtc.evaluation import METRICS, MetricValue

EVALUATIONS = [
    {"step": 1, "miou": 0.5, "f1": math.nan},
    {"step": 2, "miou": 0.3, "f1": 0.6},
    {"step": 3, "miou": 0.4, "f1": 0.6},
]


@pytest.mark.parametrize(("monitor", "step"), [("miou", 1), ("f1", 2)])
def test_the_best_is_the_first_with_the_highest_value(monitor, step):
    assert best_of(EVALUATIONS, monitor)["step"] == step
    log, saved = PhaseLog(), []
    for each in EVALUATIONS:
        if log.is_best(each, monitor):
            saved.append(each["step"])
        log.evaluations.append(each)
    assert saved[-1] == step
    assert saved[0] == 1, "there are weights from the first evaluation on"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["run.monitor=binary_iou"], r"run.monitor=binary_iou is not scored: add it, as in evaluation.metrics=\[acc"),
        (["run.monitor=f1", "evaluation.metrics=[dice]"], r"evaluation.metrics=\[dice,f1\]"),
        (["run.monitor=moiu"], "run.monitor: unknown metric 'moiu'. Did you mean 'miou'?"),
        (["run.monitor=null"], "run.monitor should be str"),
    ],
)
def test_what_is_not_scored_is_refused(options, told):
    with pytest.raises(ConfigError, match=told):
        settle(dmtc.compose(options))


def test_best_weights_follow_it(small, tmp_path, command):
    """A metric that falls from the first scoring on: the best are the first weights, whatever their mIoU."""
    numbers = itertools.count(1)

    @METRICS.register("falling")
    def falling(*, counts):
        return MetricValue(1 / next(numbers))

    options = [*small, "method=supervised", "schedule.limit_steps=4", "schedule.start.evaluations=2"]
    options += ["evaluation.metrics=[falling]", "run.monitor=falling", "run.report=true"]
    run = dmtc.train(dmtc.compose(options), tmp_path / "run")
    (record,) = run.results["phases"]
    first, last = record["evaluations"]
    assert first["falling"] > last["falling"]
    assert run.results["monitor"] == {"metric": "falling", "a": {"step": first["step"], "value": first["falling"]}}
    assert run.results["miou"]["a"] == {"last": last["miou"], "best": first["miou"]}
    best, final = (run.model("a", "r0-a", which).state_dict() for which in ("best", "last"))
    assert any(not value.equal(final[name]) for name, value in best.items())
    assert "mIoU of best" in (text := (tmp_path / "run" / "results.txt").read_text())
    assert f"best, by falling (a {100 * first['falling']:.1f}), is chosen" in text
    assert "highest falling on the validation images" in (tmp_path / "run" / "report.html").read_text()
    code, _, err = command(f"resume={tmp_path / 'run'}", "run.monitor=miou", small_run=False)
    assert code == 2
    assert "run.monitor: falling -> miou" in err
