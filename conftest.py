"""The folder in which the examples of the docstrings are tried, with a finished run in `outputs/first`."""

from pathlib import Path

import pytest

_OF_RUNS = (
    *("finding.py", "launch.py", "plotting.py", "pseudo_labels.py", "runs.py", "segmenter.py", "stored_run.py"),
    "sweeps.py",
)


@pytest.fixture(scope="session")
def place_of_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of DMTC: two rounds of three steps on eight built-in images."""
    import dmtc

    place = tmp_path_factory.mktemp("examples")
    overrides = ["schedule=smoke", "schedule.rounds.label_ratios=[0.5]", "dataset.train_images=8", "split.ratio=1/4"]
    overrides += ["dataset.val_images=2", f"dataset.root={place / 'data'}", "run.progress=off", "run.report=false"]
    dmtc.train(dmtc.compose(overrides), place / "outputs" / "first")
    return place


@pytest.fixture(autouse=True)
def in_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples that read runs stand beside one; the others write into an empty folder, not into the checkout."""
    if request.path.name in _OF_RUNS:
        monkeypatch.chdir(request.getfixturevalue("place_of_examples"))
    elif isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(request.getfixturevalue("tmp_path"))
