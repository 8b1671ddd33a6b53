"""Long checks: `uv run pytest -m slow`."""

from pathlib import Path

import pytest

import dmtc

SHARED = Path(__file__).parents[2] / "shared"

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
    plain = dmtc.train(dmtc.compose([*small, "loss=dmt"]), tmp_path / "plain")
    compiled = dmtc.train(dmtc.compose([*small, "loss=dmt", "run.compile=true"]), tmp_path / "compiled")
    for one, other in zip(plain.results["phases"], compiled.results["phases"], strict=True):
        assert one["miou_last"] == pytest.approx(other["miou_last"], abs=0.02)
