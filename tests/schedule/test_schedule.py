import dataclasses
import math

import pytest

import dmtc
from dmtc.core.errors import ConfigError
from dmtc.engine.checks import settle
from dmtc.schedule import Counts, build_plan
from dmtc.schedule.phase import independent_phases, networks_of, plan_from_json, plan_to_json
from dmtc.schedule.plans import left_out

COUNTS = Counts(labelled={"a": 371, "b": 371}, unlabelled=2604)


def spec(*overrides: str) -> dict:
    return settle(dmtc.compose(["dataset=camvid", *overrides]))["schedule"]


def test_mutual_plan_is_the_published_order():
    plan = build_plan(spec("schedule=mutual"), COUNTS)
    rows = [(p.name, p.trainee, p.init_from, p.label_from, p.label_ratio) for p in plan]
    assert rows[:6] == [
        ("r0-a", "a", None, None, None),
        ("r0-b", "b", None, None, None),
        ("r1-a", "a", "r0-a", "r0-b", 0.2),
        ("r1-b", "b", "r0-b", "r0-a", 0.2),
        ("r2-a", "a", "r1-a", "r1-b", 0.4),
        ("r2-b", "b", "r1-b", "r1-a", 0.4),
    ]
    assert [p.label_ratio for p in plan[2::2]] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert len(plan) == 12


def test_both_networks_of_a_round_learn_from_the_previous_round():
    rounds = build_plan(spec("schedule=mutual"), COUNTS)[2:]
    assert len(rounds) == 10
    for phase in rounds:
        number = int(phase.name[1])
        assert phase.init_from == f"r{number - 1}-{phase.trainee}"
        assert phase.label_from == f"r{number - 1}-{'b' if phase.trainee == 'a' else 'a'}"


def test_the_trainings_of_a_round_are_independent_and_those_of_one_network_never():
    pieces = independent_phases(build_plan(spec("schedule=mutual"), COUNTS))
    assert [[phase.name for phase in piece] for piece in pieces] == [[f"r{i}-a", f"r{i}-b"] for i in range(6)]
    assert all(len(piece) == 1 for piece in independent_phases(build_plan(spec("schedule=self_training"), COUNTS)))


def test_self_training_has_one_network_that_teaches_itself():
    plan = build_plan(spec("schedule=self_training"), COUNTS)
    assert networks_of(plan) == ["a"]
    assert [(p.init_from, p.label_from) for p in plan] == [(None, None)] + [(f"r{i}-a", f"r{i}-a") for i in range(5)]


def test_supervised_has_one_phase_and_no_unlabelled_images():
    (phase,) = build_plan(spec("method=supervised"), dataclasses.replace(COUNTS, unlabelled=0))
    assert (phase.name, phase.pseudo_batch, phase.label_from) == ("r0-a", 0, None)


def test_supervised_long_trains_as_long_as_start_and_rounds():
    (long,) = build_plan(spec("schedule=supervised_long"), COUNTS)
    assert long.steps == sum(p.steps for p in build_plan(spec("schedule=self_training"), COUNTS))


def test_epochs_count_labelled_images_in_the_start_and_pseudo_labelled_ones_in_the_rounds():
    # Cityscapes at 1/8 as published: 170 epochs of ceil(371 / 8) and 10 epochs of ceil(2604 / 6).
    settings = spec(
        "schedule=mutual",
        "schedule.start.steps=null",
        "schedule.start.epochs=170",
        "schedule.rounds.steps=null",
        "schedule.rounds.epochs=10",
        "schedule.rounds.labelled_batch=2",
        "schedule.rounds.pseudo_batch=6",
    )
    plan = build_plan(settings, COUNTS)
    assert [p.steps for p in plan] == [7990] * 2 + [4340] * 10
    assert plan[0].steps == 170 * math.ceil(371 / 8)


def test_steps_win_over_epochs_and_the_limit_over_both():
    plan = build_plan(spec("schedule.start.steps=50", "schedule.rounds.steps=7", "schedule.limit_steps=20"), COUNTS)
    assert [p.steps for p in plan[:3]] == [20, 20, 7]


def test_smoke_keeps_the_phases_of_the_method():
    assert len(build_plan(spec("schedule=smoke"), COUNTS)) == 12
    assert len(build_plan(spec("schedule=smoke", "method=dst"), COUNTS)) == 6
    assert len(build_plan(spec("schedule=smoke", "method=supervised"), COUNTS)) == 1
    assert {p.steps for p in build_plan(spec("schedule=smoke"), COUNTS)} == {3}


def test_plan_survives_json():
    plan = build_plan(spec(), COUNTS)
    assert plan_from_json(plan_to_json(plan)) == plan


ALL_LABELLED = Counts(labelled={"a": 2975, "b": 2975}, unlabelled=0)


def test_rounds_are_left_out_where_no_image_is_unlabelled():
    """So that a sweep over label ratios may end with all labels, whatever the methods in it."""
    plan = build_plan(spec(), ALL_LABELLED)
    assert [phase.name for phase in plan] == ["r0-a", "r0-b"]
    names = left_out(spec(), ALL_LABELLED)
    assert names == [f"r{number}-{network}" for number in range(1, 6) for network in "ab"]
    assert left_out(spec(), COUNTS) == []


@pytest.mark.parametrize("length", [["steps=30", "epochs=null"], ["steps=null", "epochs=2"]])
def test_the_long_baseline_stays_as_long_with_all_labels(length):
    """By steps the same, by epochs of rounds that would go through all images."""
    long = spec("schedule=supervised_long", "schedule.start.steps=50", *(f"schedule.rounds.{one}" for one in length))
    (phase,) = build_plan(long, ALL_LABELLED)
    of_round = 30 if "steps=30" in length else 2 * math.ceil(2975 / long["rounds"]["pseudo_batch"])
    assert phase.steps == 50 + 5 * of_round
    assert left_out(long, ALL_LABELLED) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedule.rounds.label_ratios=[0.2,1.2]", "label_ratios should be ratios above 0 and at most 1"),
        ("schedule.start.learning_rate=0", "start.learning_rate should be above 0"),
        ("schedule.rounds.pseudo_batch=0", "pseudo_batch should be at least 1"),
        ("schedule.start.steps=0", "start.steps should be at least 1 or null"),
        ("schedule.limit_steps=0", "limit_steps should be a positive whole number"),
        ("schedule.start.labelled_batch=x", "start.labelled_batch should be int"),
        ("+schedule.rounds.epoch=3", "unknown option 'epoch'. Did you mean 'epochs'"),
    ],
)
def test_faults(override, message):
    with pytest.raises(ConfigError, match=message):
        spec(override)


def test_neither_steps_nor_epochs():
    with pytest.raises(ConfigError, match=r"schedule\.start needs steps, epochs or root_steps"):
        build_plan(spec("schedule.start.steps=null", "schedule.start.epochs=null"), COUNTS)


def test_st_begins_anew_on_the_labels_of_the_start_for_as_long_as_all_rounds():
    start, again = build_plan(spec("schedule=st"), COUNTS)
    assert (again.name, again.init_from, again.label_from, again.label_ratio) == ("r1-a", None, "r0-a", 1.0)
    assert again.steps == sum(p.steps for p in build_plan(spec("schedule=self_training"), COUNTS)[1:])
    assert again.learning_rate == start.learning_rate
    assert again.rate_of == start.rate_of == "start"
    assert start.kept_after == ()


def test_st_plus_plus_ranks_by_the_start_and_shares_the_steps_by_images():
    settings = spec("schedule=st_plus_plus", "schedule.start.steps=300", "schedule.rounds.steps=30")
    start, reliable, every = build_plan(settings, COUNTS)
    assert start.kept_after == (100, 200)
    assert (reliable.ranked_by, reliable.image_share, reliable.label_from) == ("r0-a", 0.5, "r0-a")
    assert (every.ranked_by, every.image_share, every.label_from, every.keeps_labels_of) == (None, 1, "r1-a", "r0-a")
    assert (reliable.steps, every.steps) == (50, 100)
    assert reliable.share_of(2604) == 1302
    assert every.needs == {"r1-a", "r0-a"}
    assert plan_from_json(plan_to_json([start, reliable, every])) == [start, reliable, every]
    (alone,) = build_plan(settings, dataclasses.replace(COUNTS, unlabelled=0))
    assert alone.kept_after == ()
    (short, *_) = build_plan(settings | {"limit_steps": 1}, COUNTS)
    assert short.kept_after == (1,)
    with pytest.raises(ConfigError, match=r"schedule\.image_share should be above 0 and below 1, but is 1"):
        build_plan(settings | {"image_share": 1}, COUNTS)
