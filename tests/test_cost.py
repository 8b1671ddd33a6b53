"""What a recipe costs: the counts are the plan's, and memory grows as it must."""

import pytest

import dmtc
from dmtc.config import settle
from dmtc.engine.assembly import Assembly
from dmtc.engine.cost import measure_cost
from dmtc.report import cost_page


def cost_of(small, *overrides):
    parts = Assembly(settle(dmtc.compose([*small, *overrides])))
    return parts, measure_cost(parts, steps=1)


def test_the_whole_plan_is_counted(small):
    parts, cost = cost_of(small)
    assert [step.stage for step in cost.steps] == ["start", "rounds"]
    counted = {name: count for name, count, _ in cost.parts}
    assert counted["steps of the start"] == 2 * 2
    assert counted["steps of the rounds"] == 4 * 2
    assert counted["images to label"] == 4 * len(parts.split.unlabelled)
    assert counted["images to score"] == (6 + 2) * len(parts.dataset.val)
    assert cost.seconds == pytest.approx(sum(count * each for _, count, each in cost.parts))
    page = cost_page(cost, "this machine")
    assert page.startswith("this machine; a large matrix product runs at ")
    assert f"{cost.seconds / 60:.1f}" in page.splitlines()[-1]


def test_supervised_training_labels_nothing(small):
    _, cost = cost_of(small, "loss=supervised")
    assert cost.labelling is None
    assert [step.stage for step in cost.steps] == ["start"]


def test_memory_and_operations_grow_with_the_crop_and_fixed_memory_does_not(small):
    (_, one), (_, four) = (cost_of(small, "loss=supervised", f"dataset.augment.crop=[{n},{n}]") for n in (32, 64))
    assert one.steps[0].fixed_bytes == four.steps[0].fixed_bytes
    assert four.steps[0].operations == pytest.approx(4 * one.steps[0].operations, rel=0.01)
    assert four.steps[0].bytes_per_image == pytest.approx(4 * one.steps[0].bytes_per_image, rel=0.1)


def test_adamw_keeps_one_moment_more(small):
    _, sgd = cost_of(small, "loss=supervised")
    _, adamw = cost_of(small, "loss=supervised", "schedule/optimizer=adamw")
    weights = sgd.steps[0].fixed_bytes / 3
    assert adamw.steps[0].fixed_bytes == pytest.approx(4 * weights, rel=0.01)


def test_benchmark_job_writes_nothing(command, tmp_path):
    code, out, err = command("job=benchmark", "job.steps=1")
    assert code == 0, err
    assert "images to label" in out
    assert list(tmp_path.iterdir()) == []
    code, _, err = command("job=benchmark", "job.steps=0")
    assert code == 2
    assert "job.steps should be at least 1" in err
