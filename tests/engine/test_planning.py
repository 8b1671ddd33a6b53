"""What goes together: teachers, schedules, views and splits, and one clear line where they do not."""

import pytest

import dmtc
from dmtc.core.errors import ConfigError
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.engine.parallel import refuse_processes
from dmtc.machine.processes import Processes


def plan_of(small, *overrides):
    return Components(settle(dmtc.compose([*small, *overrides]))).plan


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["method=fixmatch_ema", "teacher=self"], r"teacher=self labels by the student's pass over weak views"),
        (["method=corrmatch", "run.accumulate=2"], r"over a whole batch; run\.gradient_checkpointing=true needs less"),
        (["method=cps", "run.accumulate=2"], r"run\.accumulate should be 1 with teacher\.mode=student, but is 2"),
        (["method=dst", "teacher=peer"], r"teacher=peer needs 2 networks that learn together"),
        (["method=fixmatch", "teacher=stored"], r"schedule=online labels images within the step: choose what"),
        (["method=cps", "split=difference_maximized"], r"shows both networks the same images"),
        (
            ["method=dmt", "+loss.mutual.target=teacher"],
            r"loss\.mutual\.target=teacher needs a teacher within the step",
        ),
        (
            ["method=corrmatch", "teacher=average"],
            r"loss\.propagated and loss\.correlated_strong spread labels .* teacher=average labels by another pass",
        ),
        (["method=corrmatch", "teacher.mode=eval"], r"teacher=self labels by another pass: choose teacher=self or"),
        (
            [
                *("method=cbst", "loss.mutual.name=propagated_cross_entropy", "+loss.mutual.start=0.9"),
                *("+loss.mutual.momentum=0.9", "+loss.mutual.num_regions=2"),
            ],
            r"teacher=stored labels before the step",
        ),
        (["method=corrmatch", "model.correlation.channels=0"], r"model\.correlation\.channels should be at least 1"),
        (["method=corrmatch", "~model.correlation"], r"model\.correlation is missing, but a loss term needs it"),
        (["method=fixmatch_ema", "loss=dmt", "loss.mutual.weight.rounds=0"], r"no loss term counts in the online"),
    ],
)
def test_what_does_not_go_together_is_told(small, overrides, told):
    with pytest.raises(ConfigError, match=told):
        plan_of(small, *overrides)


def test_labels_that_would_not_spread_are_refused_before_anything_is_written(command, tmp_path):
    code, out, err = command("method=corrmatch", "teacher=average")
    assert (code, out) == (2, "")
    assert err.strip().count("\n") == 0
    assert "or turn off loss.propagated=null loss.correlated_strong=null" in err
    assert list(tmp_path.iterdir()) == []


def test_labels_spread_or_need_not(small):
    for overrides in (["teacher=self"], ["loss.propagated=null", "loss.correlated_strong=null", "teacher=average"]):
        (phase,) = plan_of(small, "method=corrmatch", *overrides)
        assert phase.stage == "online"


def test_rounds_are_labelled_by_a_teacher_in_their_steps(small):
    stored, average = plan_of(small, "method=dmt"), plan_of(small, "method=dmt", "teacher=average")
    assert [phase.label_from for phase in stored if phase.stage == "rounds"] == ["r0-b", "r0-a", "r1-b", "r1-a"]
    rounds = [phase for phase in average if phase.stage == "rounds"]
    assert [(phase.label_from, phase.teacher, phase.label_ratio) for phase in rounds] == [
        (None, "average", ratio) for ratio in (0.5, 0.5, 1.0, 1.0)
    ]
    peers = [phase for phase in plan_of(small, "method=dmt", "teacher=peer") if phase.stage == "rounds"]
    assert [tuple(phase.together) for phase in peers] == 2 * [("r1-a", "r1-b")] + 2 * [("r2-a", "r2-b")]


@pytest.mark.parametrize(("method", "each"), [("fixmatch_ema", 8), ("unimatch_v2", 12), ("unimatch", 16), ("cps", 8)])
def test_every_method_passes_as_many_images_as_the_others(small, method, each):
    """Without a length of its own: forward and backward, for each network."""
    lengths = ["schedule.limit_steps=null", "schedule.start.steps=60", "schedule.rounds.steps=30"]
    (long,) = plan_of(small, *lengths, "method=supervised_long")
    budget = 60 * 8 + 2 * 30 * 8
    assert long.steps == budget / 8
    assert {phase.steps for phase in plan_of(small, *lengths, f"method={method}")} == {round(budget / each)}


def test_an_online_phase_without_unlabelled_images_learns_from_the_labelled_ones(small):
    components = Components(settle(dmtc.compose([*small, "method=unimatch_v2", "split.ratio=full"])))
    (phase,) = components.plan
    assert (phase.teacher, phase.pseudo_batch) == (None, 0)
    assert any("r0-a learns from the labelled images only" in line for line in components.choices)


class Many(Processes):
    def __init__(self, size):
        self.rank, self.size = 0, size


def test_processes_need_images_of_both_kinds(small):
    components = Components(settle(dmtc.compose([*small, "method=fixmatch_ema"])))
    components.__dict__["processes"] = Many(5)
    with pytest.raises(ConfigError, match=r"5 processes cannot share 4 labelled and 4 unlabelled images per step"):
        refuse_processes(components)


def test_peers_do_not_train_apart(small):
    components = Components(settle(dmtc.compose([*small, "method=cps", "run.parallel_students=true"])))
    components.__dict__["processes"] = Many(2)
    with pytest.raises(ConfigError, match=r"with teacher=peer they learn in the same step"):
        refuse_processes(components)
