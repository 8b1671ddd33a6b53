"""What a recipe costs: the counts are the plan's, memory grows as it must, and the page says what follows."""

import json
import math

import pytest
import torch

import dmtc
from dmtc.cost import Cost, Memory, PassCost, PlanPart, StageCost, StepCost, measure_cost
from dmtc.cost.memory import LiveBytes
from dmtc.cost.steps import StageTraining
from dmtc.cost.timing import Timer
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.report import cost_page
from dmtc.run.folder import RunFolder


def cost_of(small, *overrides, batches=()) -> tuple[Components, Cost]:
    components = Components(settle(dmtc.compose([*small, *overrides])))
    return components, measure_cost(components, steps=1, seconds=0.01, batches=batches, report=lambda text: None)


@pytest.fixture(scope="module")
def measured(small) -> tuple[Components, Cost]:
    """The whole of a small recipe."""
    return cost_of(small, batches=[3])


def test_the_whole_plan_is_counted(measured):
    components, cost = measured
    assert [stage.stage for stage in cost.stages] == ["start", "rounds"]
    counted = {part.name: part.times for part in cost.plan}
    assert counted == {
        "steps of the start": 2 * 2,
        "steps of the rounds": 4 * 2,
        "images to label": 4 * len(components.split.unlabelled),
        "pseudo-labels to score": 4 * len(components.split.unlabelled),
        "images to score": (6 + 2) * len(components.dataset.val),
    }
    assert cost.seconds == pytest.approx(sum(part.times * part.seconds for part in cost.plan))


def test_the_recipes_own_step_and_other_batch_sizes_are_measured(measured):
    components, cost = measured
    own = {phase.stage: phase.labelled_batch + phase.pseudo_batch for phase in components.plan}
    for stage in cost.stages:
        assert [step.images for step in stage.steps] == [own[stage.stage], 3]
        assert all(step.seconds > 0 and step.peak_bytes is None for step in stage.steps)
        assert stage.steps[0].estimated_bytes > stage.steps[1].estimated_bytes


def test_only_stages_with_an_embedding_tell_what_it_adds(measured):
    _, cost = measured
    start, rounds = cost.stages
    assert start.embedding_terms == ["contrastive"]
    assert start.embedding_adds > 0
    assert rounds.embedding_terms == []
    assert rounds.embedding_adds is None


def test_a_recipe_becomes_a_page_and_json(measured):
    _, cost = measured
    page = cost_page(cost, "this machine")
    assert page.startswith("this machine; a large matrix product runs at ")
    assert "contrastive adds" in page
    assert page.splitlines()[-1].split() == ["all", f"{cost.seconds / 60:.1f}", "min"]
    record = json.loads(json.dumps(cost.to_json()))
    step = record["stages"][0]["steps"][0]
    operations = record["stages"][0]["operations"] * step["images"]
    assert step["share_of_matrix_rate"] == pytest.approx(operations / step["seconds"] / cost.matrix_rate)
    assert record["labelling"]["efficiency"] == pytest.approx(cost.labelling.efficiency)
    assert record["seconds"] == cost.seconds


def test_supervised_training_labels_nothing(small):
    _, cost = cost_of(small, "method=supervised", "schedule=supervised")
    assert cost.labelling is None
    assert [part.name for part in cost.plan] == ["steps of the start", "images to score"]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("method", "parts"),
    [
        ("corrmatch", ["correlation", "mixing", "colors"]),
        ("u2pl", ["teacher", "teacher_maps", "mixing"]),
        ("mean_teacher", ["teacher"]),
        ("fixmatch_ema", ["teacher", "mixing", "colors"]),
        ("fixmatch", ["mixing", "colors"]),
    ],
)
def test_every_part_of_a_step_is_measured_apart(small, method, parts):
    """Also those that terms take of the teacher: its maps of what the student sees, its logits, its entropy."""
    settings = ["model.embedding_channels=8", "model.correlation.channels=8"]
    _, cost = cost_of(small, f"method={method}", *settings)
    (stage,) = cost.stages
    assert list(stage.seconds_without) == parts
    assert all(seconds > 0 for seconds in stage.seconds_without.values())
    (header,) = [line for line in cost_page(cost, "machine").splitlines() if line.startswith("added to a step of the")]
    assert header.split("of the")[1].split() == " ".join(parts).replace("_", " ").split()


def test_the_teachers_passes_over_what_the_student_sees_are_left_out_of_the_step_without_them(
    small, monkeypatch, tmp_path
):
    """The contrast is computed all the same, of the student's own maps."""
    seen = []
    real = dmtc.engine.teaching.Teaching.seeing
    monkeypatch.setattr(
        dmtc.engine.teaching.Teaching, "seeing", lambda *given: (seen.append(bool(given[1])), real(*given))[1]
    )
    components = Components(settle(dmtc.compose([*small, "method=u2pl"])))
    (phase,) = components.plan
    model = dmtc.engine.networks.Networks(components, RunFolder(tmp_path)).instance("a")
    timer = Timer(components.device, repeats=1, seconds=0.01)
    training = StageTraining(components, [model], [phase], free=None, timer=timer)
    compared = training._compared(8)
    for name, passes in (("all", 1), ("teacher_maps", 0), ("teacher", 0)):
        seen.clear()
        terms, showing = compared[name]
        values = training._step(8, terms, showing)(0, training._batch_of(8, terms, showing), learning_rate=1e-6)
        assert sum(seen) == passes, name
        assert "contrastive/keys" in values.sums, name


def test_memory_and_operations_grow_with_the_crop_and_fixed_memory_does_not(small):
    (_, one), (_, four) = (cost_of(small, "method=supervised", f"dataset.augment.crop=[{n},{n}]") for n in (32, 64))
    (one,), (four,) = one.stages, four.stages
    assert one.memory.fixed == pytest.approx(four.memory.fixed, rel=0.01)
    assert four.operations == pytest.approx(4 * one.operations, rel=0.01)
    assert one.memory.per_image > 0
    assert four.memory.per_image == pytest.approx(4 * one.memory.per_image, rel=0.1)


def test_living_bytes_are_those_at_once_and_shared_memory_counts_once():
    x = torch.zeros(1000, requires_grad=True)  # made before: not counted
    with (live := LiveBytes()):
        _ = x.view(10, 100).T
    assert live.peak == 0
    with (live := LiveBytes()):
        kept = [x.exp().view(10, 100), x.exp()]  # 4,000 bytes each
        kept[0].add_(1)
        del kept[0]
        kept.append(kept[0].reshape(2, 500) * 2)  # takes the place of the one that is gone
    assert live.peak == 8000


def test_gradient_checkpointing_keeps_inputs_of_blocks_and_the_inside_of_one():
    width, blocks = 1000, [torch.nn.Sequential(*(torch.nn.Tanh() for _ in range(3))) for _ in range(4)]

    def peak(call):
        x = torch.zeros(width, requires_grad=True)
        with (live := LiveBytes()):
            for block in blocks:
                x = call(block, x)
            x.sum().backward()
        return live.peak / (4 * width)

    def again(block, x):
        return torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)

    plain, checkpointed = peak(lambda block, x: block(x)), peak(again)
    assert 12 <= plain <= 15  # all results, and gradients under way
    assert 4 + 2 <= checkpointed <= 4 + 5


def test_checkpointing_lowers_the_estimate_of_a_recipe_by_less_than_all(small):
    """What is computed again lives in the backward pass: the estimate counts it."""
    (_, plain), (_, checkpointed) = (
        cost_of(small, "method=supervised", "schedule=supervised", f"run.gradient_checkpointing={choice}")
        for choice in ("false", "true")
    )
    plain, checkpointed = plain.stages[0].memory.per_image, checkpointed.stages[0].memory.per_image
    assert 0.2 * plain < checkpointed < 0.9 * plain


def test_adamw_keeps_one_moment_more(small):
    _, sgd = cost_of(small, "method=supervised")
    _, adamw = cost_of(small, "method=supervised", "schedule/optimizer=adamw")
    weights = sgd.stages[0].memory.fixed / 3
    assert adamw.stages[0].memory.fixed == pytest.approx(4 * weights, rel=0.02)


def test_a_step_that_does_not_fit_is_not_tried(small, monkeypatch):
    monkeypatch.setattr("dmtc.cost.measuring.free_bytes", lambda device: 10)
    _, cost = cost_of(small, "method=supervised")
    assert cost.stages[0].own.seconds is None
    assert cost.seconds is None
    assert cost_page(cost, "a small machine").splitlines()[-1].split() == ["all", "-"]


GIB = 2**30


def made_up(free: int, accumulate: int = 1, workers: int = 2) -> Cost:
    """A start of 8 images in 0.5 s that holds 1.2 (1 + 8) GiB; 32 crops/s are read by a process."""
    memory = Memory(fixed=GIB, per_image=GIB)
    images = math.ceil(8 / accumulate)
    own = StepCost(images=8, seconds=0.5, estimated_bytes=memory.estimate(images), peak_bytes=None)
    start = StageCost(
        stage="start",
        steps=[own],
        accumulate=accumulate,
        operations=10**9,
        loss_share=0.1,
        embedding_terms=["regional"],
        seconds_without_embedding=0.4,
        seconds_without={"teacher": 0.25},
        memory=memory,
        crops_per_s=4.0,
    )
    return Cost(
        matrix_rate=32e9,
        free_bytes=free,
        workers=workers,
        stages=[start],
        labelling=None,
        evaluation=PassCost(images_per_s=5.0, plain_images_per_s=10.0),
        plan=[PlanPart(name="steps of the start", times=60, seconds=start.seconds(workers))],
    )


def test_the_page_tells_shares_and_what_limits():
    cost = made_up(free=12 * GIB)
    (start,) = cost.stages
    assert start.rate(start.own) / cost.matrix_rate == pytest.approx(0.5)
    assert start.embedding_adds == pytest.approx(0.25)
    assert start.adds("teacher") == pytest.approx(1.0)
    assert start.adds("mixing") is None
    assert start.workers_needed == 4, "16 images a second, of which a process reads 4"
    assert start.seconds(workers=2) == pytest.approx(1.0), "two processes read 8 a second"
    assert start.seconds(workers=4) == pytest.approx(0.5)
    assert start.seconds(workers=0) == pytest.approx(2.5), "one after the other"
    lines = [line.split() for line in cost_page(cost, "machine").splitlines()]
    assert ["start", "8", "0.500", "16.0", "50%", "10%", "10.80", "GB", "yes", "25%"] in lines
    assert ["start", "4.00", "16.0", "4", "2"] in lines
    place = lines.index(["added", "to", "a", "step", "of", "the", "teacher"])
    assert lines[place + 2] == ["start", "100%"]
    assert cost.to_json()["stages"][0]["adds"] == {"teacher": pytest.approx(1.0)}
    assert ["scored", "5.00", "10.0", "50%"] in lines
    assert lines[-1] == ["all", "1.0", "min"]


@pytest.mark.parametrize(
    ("free", "accumulate", "line"),
    [
        (10.5, 1, "The start does not fit; with run.accumulate=2 it needs 6.00 GB."),
        (3.0, 2, "The start does not fit; with run.accumulate=8 it needs 2.40 GB."),
        (2.0, 1, "The start does not fit, even with one image per part: choose a smaller dataset.augment.crop."),
        (12.0, 1, None),
    ],
)
def test_the_page_tells_how_a_recipe_fits(free, accumulate, line):
    page = cost_page(made_up(free=round(free * GIB), accumulate=accumulate), "machine")
    assert (line in page) if line else ("does not fit" not in page)


def test_benchmark_job_writes_nothing_but_its_output(command, tmp_path):
    quick = ("job=benchmark", "job.steps=1", "job.seconds=0.01", "job.batches=[]", "method=supervised")
    code, out, err = command(*quick)
    assert code == 0, err
    assert "images to score" in out
    assert list(tmp_path.iterdir()) == []
    code, _, err = command(*quick, "job.output=out/cost.json", "run.progress=lines")
    assert code == 0, err
    assert "measuring: steps of the start" in err
    record = json.loads((tmp_path / "out" / "cost.json").read_text())
    assert record["environment"]["processor"]
    assert record["precision"] == "float32"
    for wrong in ("job.steps=0", "job.seconds=0", "job.batches=[0]"):
        code, _, err = command("job=benchmark", wrong)
        assert code == 2
        assert "job.steps should be at least 1, job.seconds above 0" in err
