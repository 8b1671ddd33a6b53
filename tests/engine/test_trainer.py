"""The loop around the step: what is logged, saved and scored, and when."""

import json

import pytest

import dmtc
import dmtc.engine.step
from dmtc.core.errors import TrainingError
from dmtc.schedule import Phase


@pytest.fixture(scope="module")
def supervised(small) -> list[str]:
    """One phase of six steps, logged every four, scored after the third and the last."""
    steps = ["schedule.limit_steps=6", "schedule.start.evaluations=2", "run.log_every=4", "schedule.start.steps=6"]
    return [*small, "method=supervised", "model.backbone.width=4", *steps]


@pytest.fixture
def saved(monkeypatch) -> list[int]:
    """The steps after which a checkpoint was written."""
    steps, real = [], dmtc.run.checkpoints.Checkpoints.save
    monkeypatch.setattr(
        dmtc.run.checkpoints.Checkpoints,
        "save",
        lambda self, step, state: steps.append(step) or real(self, step, state),
    )
    return steps


def records(run: dmtc.Run) -> list[dict]:
    return [json.loads(line) for line in run.folder.metrics_path.read_text().splitlines()]


def test_logs_scores_and_checkpoints_come_at_their_steps(supervised, saved, tmp_path):
    run = dmtc.train(dmtc.compose(supervised), tmp_path / "run")
    logged = [record for record in records(run) if "loss" in record]
    phase: Phase = run.plan[0]
    assert [record["step"] for record in logged] == [4, 6]
    assert [record["step"] for record in records(run) if "miou" in record] == saved == [3, 6]
    assert [each["step"] for each in run.results["phases"][0]["evaluations"]] == [3, 6]
    assert logged[1]["learning_rate"] == pytest.approx(phase.learning_rate * (1 - 5 / 6) ** 0.9)
    assert logged[0]["loss"] == logged[0]["supervised"] > 0
    assert run.results["phases"][0]["train_images_per_s"] > 0


@pytest.mark.parametrize(("call", "at"), [(2, 2), (5, 5)])
def test_a_loss_that_is_not_finite_stops_before_anything_is_scored_or_saved(supervised, saved, tmp_path, call, at):
    """Step 3 is scored, and step 2 logged nothing yet; step 5 comes to light at the end of the phase."""
    real, calls = dmtc.engine.step.total_loss, []

    def failing(terms, inputs):
        calls.append(1)
        loss, logs = real(terms, inputs)
        return (loss * float("nan"), logs) if len(calls) == call else (loss, logs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dmtc.engine.step, "total_loss", failing)
        with pytest.raises(TrainingError, match=rf"^the loss of phase r0-a is nan at step {at} of 6 \(images "):
            dmtc.train(dmtc.compose(supervised), tmp_path / "run")
    assert saved == [3] * (call > 3)
