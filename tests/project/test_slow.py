"""Long checks: `uv run pytest -m slow`."""

import json
from pathlib import Path

import pytest
import torch

import dmtc

SHARED = Path(__file__).parents[3] / "shared"

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not (SHARED / "camvid").is_dir(), reason="needs CamVid beside the checkout")
def test_camvid_experiment_with_real_weights(tmp_path, capsys):
    weights = SHARED / "weights" / "mobilenetv2_100_timm.safetensors"
    run = dmtc.train(
        dmtc.compose(
            [
                "experiment=dmtc_camvid_1_8",
                f"dataset.root={SHARED / 'camvid'}",
                f"model.weights.a={weights}",
                f"model.weights.b={weights}",
                "schedule.rounds.label_ratios=[0.2]",
                "schedule.limit_steps=5",
                "run.progress=lines",
            ]
        ),
        tmp_path / "run",
    )
    assert "255 of 255 backbone tensors matched" in capsys.readouterr().err
    assert run.results["split"]["labelled"] + run.results["split"]["unlabelled"] == 367
    coverage = run.results["phases"][-1]["pseudo"]["coverage"]
    assert coverage == pytest.approx(0.2, abs=0.01)


def test_compiled_networks_train_alike(small, tmp_path):
    plain = dmtc.train(dmtc.compose([*small, "method=dmt"]), tmp_path / "plain")
    compiled = dmtc.train(dmtc.compose([*small, "method=dmt", "run.compile=true"]), tmp_path / "compiled")
    for one, other in zip(plain.results["phases"], compiled.results["phases"], strict=True):
        assert one["miou_last"] == pytest.approx(other["miou_last"], abs=0.02)


def test_three_compiled_steps_give_the_same_losses_and_network(small, tmp_path):
    """With contrast, whose draws have addresses and so are the same ones; what is left is rounding."""
    short = [*small, "method=dmtc", "schedule=supervised", "schedule.limit_steps=3", "run.log_every=1"]
    runs = [
        dmtc.train(dmtc.compose([*short, f"run.compile={compiled}"]), tmp_path / compiled)
        for compiled in ("false", "true")
    ]
    plain, compiled = (
        [json.loads(line) for line in (run.folder.path / "metrics.jsonl").read_text().splitlines()] for run in runs
    )
    losses = [[record["loss"] for record in records if "loss" in record] for records in (plain, compiled)]
    assert len(losses[0]) == 3
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    states = [dict(run.model("a").state_dict()) for run in runs]
    torch.testing.assert_close(states[1], states[0], rtol=1e-3, atol=1e-5)
