"""Two networks of different architecture: from the command line to the report."""

import json

import pytest

import dmtc
import dmtc.engine.step
from alike import what_came_of
from dmtc.config.overrides import in_hydras_terms
from dmtc.core.errors import ConfigError
from dmtc.engine.checks import settle

VIT = [
    "model_b=linear",
    "model_b/backbone=vit",
    "model_b.backbone.arch=test_vit",
    "model_b/tuning=layer_decay",
    "model_b.embedding_channels=16",
]


@pytest.fixture(scope="module")
def mixed(small) -> list[str]:
    short = ["schedule.rounds.label_ratios=[0.5]", "run.checkpoint_minutes=0", "schedule/optimizer=adamw"]
    return [*small, "model.backbone.width=4", *short, *VIT]


@pytest.fixture(scope="module")
def run(mixed, tmp_path_factory):
    return dmtc.train(dmtc.compose(mixed), tmp_path_factory.mktemp("mixed") / "run")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("model_b=dpt", "model@model_b=dpt"),
        ("model_b/backbone=dinov2_small", "model/backbone@model_b.backbone=dinov2_small"),
        ("model_b/tuning=frozen", "model/tuning@model_b.tuning=frozen"),
        ("+model_a=dpt", "+model@model_a=dpt"),
        ("model_b=null,dpt", "model@model_b=null,dpt"),
        ("model_b.backbone.arch=x", "model_b.backbone.arch=x"),
        ("model=dpt", "model=dpt"),
        ("model/backbone=vit", "model/backbone=vit"),
        ("model_b={name: dpt}", "model_b={name: dpt}"),
    ],
)
def test_what_is_typed_is_hydras(typed, meant):
    assert in_hydras_terms(typed) == meant


def test_each_network_has_its_own_model(mixed):
    config = settle(dmtc.compose(mixed))
    assert config["model"]["backbone"] == {"name": "tiny", "width": 4}
    assert config["model_b"]["name"] == "linear"
    assert config["model_b"]["backbone"] == {"name": "vit", "arch": "test_vit", "norm": True}
    assert config["model_b"]["tuning"]["decay"] == 0.75
    assert "weights" not in config["model_b"]
    assert settle(dmtc.compose())["model_b"] is None


def test_they_teach_each_other_and_are_read_again(run):
    assert type(run.model("a")).__name__ == "DeepLabV2"
    assert type(run.model("b")).__name__ == "Linear"
    assert type(run.model("b", "r0-b").backbone).__name__ == "VisionTransformer"
    assert {phase["label_from"] for phase in run.results["phases"]} == {None, "r0-a", "r0-b"}
    image = run.dataset.image(run.dataset.val[0])
    assert run.predict(image).shape == image.shape[:2]
    again = dmtc.Run.load(run.folder.path)
    assert (again.predict(image) == run.predict(image)).all()
    assert (again.predict(image, ensemble="b") <= 255).all()


def test_a_stopped_run_goes_on_to_the_same_results(mixed, run, tmp_path, monkeypatch):
    real, calls = dmtc.engine.step.total_loss, []

    def failing(terms, inputs):
        calls.append(1)
        if len(calls) == 4:  # in b's first phase
            raise ZeroDivisionError
        return real(terms, inputs)

    with monkeypatch.context() as patch:
        patch.setattr(dmtc.engine.step, "total_loss", failing)
        with pytest.raises(ZeroDivisionError):
            dmtc.train(dmtc.compose(mixed), tmp_path / "stopped")
    dmtc.resume(tmp_path / "stopped")
    assert what_came_of(tmp_path / "stopped") == what_came_of(run.folder.path)


def test_evaluate_and_report_read_both(run, command):
    code, _, err = command("job=evaluate", f"run={run.folder.path}", "run.progress=off", small_run=False)
    assert code == 0, err
    scored = json.loads((run.folder.path / "evaluation-last.json").read_text())["protocols"]["original"]["miou"]
    assert scored["b"] == run.results["miou"]["b"]["last"]
    code, _, err = command("job=report", f"run={run.folder.path}", "run.progress=off", small_run=False)
    assert code == 0, err
    assert (run.folder.path / "report.html").is_file()


def test_checkpointing_changes_nothing(mixed, run, tmp_path):
    other = dmtc.train(dmtc.compose([*mixed, "run.gradient_checkpointing=true"]), tmp_path / "run")
    mine, theirs = what_came_of(other.folder.path), what_came_of(run.folder.path)
    assert mine["files"] == theirs["files"]
    assert mine["metrics"] == theirs["metrics"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model_b.backbone.norms=true"], "model_b.backbone: unknown option 'norms'. Did you mean 'norm'?"),
        (["model_b.tuning.decay=high"], "model_b.tuning.decay should be float, but is 'high'"),
        (["model_b.weights={b: imagenet}"], "model_b.weights is given as model.weights.b"),
    ],
)
def test_faults_of_the_second_model_are_named(mixed, overrides, message):
    with pytest.raises(ConfigError) as caught:
        settle(
            dmtc.compose(
                [*mixed, *(f"+{each}" if "weights" in each or "norms" in each else each for each in overrides)]
            )
        )
    assert message in str(caught.value)


def test_a_head_that_does_not_go_with_bs_backbone_is_told_before_anything_starts(mixed, command, tmp_path):
    code, _, err = command(
        *(each for each in mixed if "embedding" not in each), "model_b=segformer", "hydra.run.dir=here", small_run=False
    )
    assert code == 2
    assert "error: model_b=segformer needs feature maps at several strides, but the backbone test_vit is a plain" in err
    assert "another model_b/backbone" in err
    assert not list(tmp_path.glob("here/phases"))


def test_b_without_a_model_of_its_own_has_no_parts(command):
    code, _, err = command("model_b/backbone=vit", "job=plan")
    assert code == 2
    assert "model_b=" in err
