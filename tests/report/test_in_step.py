"""The plan says what happens within the steps of phases whose teacher labels there."""

import pytest

import dmtc
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.report import step_lines

FIXMATCH = [
    "within the steps of r0-a: labels by average (decay 0.996, mode eval); selected by threshold (threshold 0.95);"
    " scored: the average",
    "  1 strong view, color jitter, mixed by cutmix (partner reversed); passes: labelled + unlabelled",
]


def lines(small, *overrides: str) -> list[str]:
    return step_lines(Components(settle(dmtc.compose([*small, *overrides]))))


def test_what_each_step_does_is_in_two_lines(small):
    assert lines(small, "method=fixmatch_ema") == FIXMATCH


def test_it_follows_the_settings(small):
    labels, views = lines(small, "method=unimatch", "mixing=none", "loss.unlabelled.selection.threshold=0.5")
    assert labels.startswith("within the steps of r0-a: labels by self (mode student); selected by threshold")
    assert "(threshold 0.5)" in labels
    assert views.startswith("  2 strong views, color jitter, features perturbed by channel_dropout; passes: labelled")


def test_peers_are_one_training_and_rounds_are_named_once(small):
    assert lines(small, "method=cps")[0].startswith("within the steps of r0-a + r0-b: labels by peer")
    rounds = lines(small, "method=dmtc", "teacher=average")
    assert len(rounds) == 2
    assert "the most confident share of every class" in rounds[0]


@pytest.mark.parametrize("method", ["supervised", "dmtc"])
def test_labels_made_before_the_phase_need_no_line(small, method):
    assert lines(small, f"method={method}") == []


def test_the_plan_shows_them(command):
    code, out, _ = command("job=plan", "method=fixmatch_ema")
    assert code == 0
    assert "\n".join(FIXMATCH) in out
