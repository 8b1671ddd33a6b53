"""job=evaluate on other data than the run's own: what is scored is what was named."""

import json
import shutil


def test_another_data_set_is_scored_and_named(command, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished.folder.path, run)
    root = finished.config["dataset"]["root"]
    given = (f"dataset.root={root}", "dataset.seed=1", "dataset.val_images=3", "run.progress=off")
    code, out, err = command("job=evaluate", f"run={run}", *given, small_run=False)
    assert code == 0, err
    assert out.startswith(f"scored: 3 validation images of {root}")
    (path,) = set(run.glob("evaluation-last-*.json"))
    assert json.loads(path.read_text())["dataset"] == {"name": "synthetic", "place": root, "part": "val", "images": 3}
    assert not (run / "evaluation-last.json").exists()
    code, out, err = command("job=evaluate", f"run={run}", *given, "job.part=all", small_run=False)
    assert code == 0, err
    assert "scored: 27 images, all that have masks" in out


def test_data_that_cannot_be_scored_are_told(command, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished.folder.path, run)
    told = {
        ("job.part=best",): "job.part should be one of auto, val, test, all",
        ("job.part=test",): "job.part=test: the data set of the run has no such images",
        ("dataset=folder", "dataset.root=/not/there"): "no folder /not/there",
    }
    for given, text in told.items():
        code, _, err = command("job=evaluate", f"run={run}", *given, small_run=False)
        assert code == 2
        assert text in err
