"""Settings that may differ between a run and its continuation change nothing, to the last bit."""

import json
from pathlib import Path

import pytest

import dmtc
from alike import what_came_of
from dmtc.core.errors import ConfigError
from dmtc.run.changes import BY_ROUNDING, FREE, is_free, settings_that_count
from short_runs import ONE_ROUND

VALUES = {
    "run.workers": ["1", "2"],
    "run.parallel_students": [],  # needs two processes: see test_many_processes
    "run.progress": ["lines", "bars"],
    "run.log_every": ["1", "3"],
    "run.score_pseudo_labels": ["false"],
    "run.scored_unlabelled": ["2"],
    "run.report": ["true"],
    "run.test": ["false"],
    "run.pictures": ["0", "3"],
    "run.checkpoint_minutes": ["0", "0.001"],
    "run.on_nonfinite": ["skip"],
    "run.debug": ["true"],
    "run.image_cache": ["{folder}/cache"],
    "run.gradient_checkpointing": ["true"],
    "logger": ["csv"],
}
"""Other values of each than those of the run that all are compared with."""
EVERY = [(key, value) for key, values in VALUES.items() for value in values]
OF_TRUTH = ("miou", "per_class_iou", "accuracy", "precision", "recall", "calibration", "scored", "worst")
"""What is reported of pseudo-labels where the truth is known and is to be looked at."""


@pytest.fixture(scope="module")
def short(small) -> list[str]:
    return [
        *small,
        *ONE_ROUND,
        "run.workers=0",
    ]


def came_of(folder: Path, truth: bool = True) -> dict:
    """Scores, networks and pseudo-labels."""
    came = what_came_of(folder)
    for phase in came["results"]["phases"] if not truth else ():
        phase["pseudo"] = {k: v for k, v in (phase["pseudo"] or {}).items() if k not in OF_TRUTH}
    assert any(name.endswith(".zst") for name in came["files"])
    return {part: came[part] for part in ("results", "files", "left over")}


@pytest.fixture(scope="module")
def plain(short, tmp_path_factory) -> Path:
    return dmtc.train(dmtc.compose(short), tmp_path_factory.mktemp("run") / "plain").folder.path


def other(short, folder: Path, settings: list[tuple[str, str]]) -> Path:
    overrides = [f"{key}={value.format(folder=folder)}" for key, value in settings]
    return dmtc.train(dmtc.compose([*short, *overrides]), folder / "other").folder.path


def test_every_free_setting_has_other_values(short):
    assert set(VALUES) == set(FREE)
    for key in VALUES.keys() - {"logger"}:
        default = json.dumps(dmtc.compose(short)["run"][key.removeprefix("run.")])
        assert default.strip('"') not in VALUES[key], key


def test_all_together_change_nothing(short, plain, tmp_path):
    """The first other value of each at once, but for the report, which takes a while to be drawn."""
    settings = [(key, values[0]) for key, values in VALUES.items() if values and key != "run.report"]
    folder = other(short, tmp_path, settings)
    assert came_of(folder, truth=False) == came_of(plain, truth=False)
    assert list((tmp_path / "cache").iterdir()), "images were kept"
    assert (folder / "metrics.csv").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(("key", "value"), EVERY, ids=[f"{key}={value}" for key, value in EVERY])
def test_none_of_them_changes_anything(short, plain, tmp_path, key, value):
    folder = other(short, tmp_path, [(key, value)])
    truth = key != "run.score_pseudo_labels"
    assert came_of(folder, truth) == came_of(plain, truth)


def test_a_larger_forward_pass_rounds_otherwise_and_is_no_such_setting(short, plain):
    """It belongs to the run: pseudo-labels of networks that see other batches differ in some levels."""
    assert "run.label_batch" not in FREE
    assert "run.label_batch" in settings_that_count({"run": {"label_batch": 8, "workers": 0}})
    with pytest.raises(ConfigError, match=r"run.label_batch cannot be changed \(run.label_batch: 8 -> 1\)"):
        dmtc.resume(plain, {"label_batch": 1})


def test_another_device_is_told(short, plain, tmp_path, monkeypatch, capsys):
    import shutil

    assert BY_ROUNDING == ("run.device",)
    assert is_free("run.device")
    folder = shutil.copytree(plain, tmp_path / "run")
    environment = json.loads((folder / "environment.json").read_text()) | {"device": "NVIDIA H200"}
    (folder / "environment.json").write_text(json.dumps(environment))
    dmtc.resume(folder, {"progress": "lines"})
    assert "resuming on cpu instead of NVIDIA H200" in capsys.readouterr().err
