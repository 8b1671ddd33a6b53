"""The command line as a user meets it: what it prints, and with which code it exits."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from dmtc.config.overrides import translate
from dmtc.tracking.progress import Progress
from trees import OWN


@pytest.fixture
def folder(tmp_path) -> Path:
    """A small data set as two folders; 12 images, all with masks of two classes."""
    root = tmp_path / "pictures"
    generator = np.random.default_rng(0)
    for i in range(12):
        for kind, array in (
            ("images", generator.integers(0, 256, (40, 40, 3), np.uint8)),
            ("masks", generator.integers(0, 2, (40, 40), np.uint8)),
        ):
            (root / kind).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / kind / f"p{i:02}.png"), array)
    (root / "classes.txt").write_text("ground\nthing\n")
    return root


def test_main_job(command, tmp_path):
    code, out, err = command("hydra.run.dir=out", "run.progress=lines")
    assert code == 0, err
    assert "supervised start" in out
    assert "ensemble:" in out
    assert "r2-b" in err, "progress goes to standard error"
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["method"] == "dmtc"


def test_plan_writes_nothing(command, tmp_path):
    code, out, _ = command("job=plan")
    assert code == 0
    assert "r2-b" in out
    assert "3 labelled, 21 unlabelled" in out
    assert list(tmp_path.iterdir()) == []


def test_own_folder(command, folder):
    code, out, err = command(f"dataset.root={folder}", "split.ratio=1/4", *OWN, small_run=False)
    assert code == 0, err
    assert "thing" in out


def test_what_the_library_finds_out_is_shown_unless_it_is_to_be_quiet(command, folder):
    (folder / "classes.txt").unlink()
    plan = ("job=plan", "dataset=folder", f"dataset.root={folder}", "split.ratio=1/4")
    masks, classes, validation = command(*plan, small_run=False)[2].splitlines()
    assert masks.startswith("masks: index, as all 12 masks show")
    assert classes == "classes: 2 (class 0, class 1), named after the masks; classes.yaml would name them"
    assert validation.startswith("validation: 2 of the 12 images with masks, held out at random")
    assert command(*plan, "run.progress=off", small_run=False)[2] == ""


def test_evaluate_and_resume_of_a_finished_run(command, finished, tmp_path):
    run = tmp_path / "runs" / "method=dmtc,seed=0"
    shutil.copytree(finished.folder.path, run)
    code, out, err = command("job=evaluate", f"run={run}", "run.progress=bars", small_run=False)
    assert code == 0, err
    assert "a+b" in out
    assert "scoring original" in err
    evaluation = json.loads((run / "evaluation-last.json").read_text())["protocols"]["original"]
    assert evaluation["evaluation"] == finished.results["evaluation"]
    assert evaluation["miou"]["a"] == pytest.approx(finished.results["miou"]["a"]["last"])
    assert evaluation["miou"]["a+b"] == pytest.approx(finished.results["miou"]["ensemble"])
    assert evaluation["iou"]["a+b"] == finished.results["per_class_iou"]
    assert command("job=evaluate", "job.checkpoint=best", f"run={run}", small_run=False)[0] == 0
    before = (run / "results.json").read_text()
    code, out, err = command(f"resume={run}", "run.progress=off", small_run=False)
    assert code == 0, err
    assert json.loads(before)["miou"] == json.loads((run / "results.json").read_text())["miou"]


def test_scoring_counts_its_images(command, finished, tmp_path, monkeypatch):
    counted = []
    monkeypatch.setattr(Progress, "advance", lambda self, count, training=False: counted.append(count))
    shutil.copytree(finished.folder.path, tmp_path / "run")
    assert command("job=evaluate", f"run={tmp_path / 'run'}", small_run=False)[0] == 0
    assert sum(counted) == len(finished.dataset.val)


def test_evaluate_under_several_protocols(command, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished.folder.path, run)
    protocols = "job.protocols=[original,multiple,{name: sliding, crop: [32,32]},{name: original, flip: true}]"
    code, out, err = command("job=evaluate", f"run={run}", protocols, "job.absent=zero", small_run=False)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split() == ["mIoU", "under", "a", "b", "a+b"]
    titles = [
        "original absent=zero",
        "multiple absent=zero",
        "sliding absent=zero crop=[32, 32]",
        "original absent=zero flip=true",
    ]
    stored = json.loads((run / "evaluation-last.json").read_text())["protocols"]
    assert list(stored) == titles
    for line, title in zip(lines[2:6], titles, strict=True):
        assert line.startswith(title)
        assert line.split()[-1] == f"{100 * stored[title]['miou']['a+b']:.1f}"
    assert stored[titles[2]]["evaluation"]["crop"] == [32, 32]
    assert stored[titles[3]]["evaluation"]["flip"]
    # Two-step networks predict almost alike everywhere, but not to the last pixel.
    assert len({stored[title]["metrics"]["a+b"]["accuracy"] for title in titles}) == 4
    assert lines[7] == "IoU of a+b"
    assert lines[-1].startswith("mIoU")


def test_evaluate_under_a_protocol_of_the_group(command, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished.folder.path, run)
    given = ("evaluation=short_edge", "evaluation.size=24", "job.scales=[0.5,1.0]")
    code, _, err = command("job=evaluate", f"run={run}", *given, small_run=False)
    assert code == 0, err
    stored = json.loads((run / "evaluation-last.json").read_text())["protocols"]
    own = {"name": "short_edge", "size": 24, "flip": False, "scales": [0.5, 1.0], "absent": "left_out"}
    own |= {key: finished.results["evaluation"][key] for key in ("metrics", "metric_options")}
    assert stored["short_edge scales=[0.5, 1.0]"]["evaluation"] == own
    assert command("job=evaluate", f"run={run}", "job.protocols=resized", small_run=False)[0] == 0


def test_evaluate_under_a_protocol_of_ones_own(command, finished, tmp_path):
    """As the run's own `imports` register it; what every protocol shares need not be given."""
    run = tmp_path / "run"
    shutil.copytree(finished.folder.path, run)
    (tmp_path / "my_protocol_of_mine.py").write_text(
        "from dmtc.evaluation import PROTOCOLS, Protocol\n\n\n"
        "@PROTOCOLS.register('rows_of_mine')\n"
        "class Rows(Protocol):\n"
        "    def __init__(self, *, count: int) -> None:\n"
        "        self.count = count\n\n"
        "    def frame(self, batch):\n"
        "        return batch.image[..., : self.count, :], batch.label[:, : self.count]\n"
    )
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("imports: []", "imports: [my_protocol_of_mine]"))
    code, out, err = command(
        "job=evaluate", f"run={run}", "job.protocols=[original,{name: rows_of_mine, count: 16}]", small_run=False
    )
    assert code == 0, err
    assert "rows_of_mine count=16" in out


def test_training_is_scored_by_the_protocol_it_names(command, finished, tmp_path):
    """The same weights (one seed), another frame."""
    protocol = ("evaluation=center_crop", "evaluation.size=[20,24]", "evaluation.flip=true")
    code, _, err = command(*protocol, "hydra.run.dir=out")
    assert code == 0, err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["evaluation"]["size"] == [20, 24]
    for one, other in zip(results["phases"], finished.results["phases"], strict=True):
        assert one["miou_last"] != other["miou_last"]
    assert results["miou"]["ensemble"] != finished.results["miou"]["ensemble"]
    assert "scored by the protocol center_crop flip=true" in (tmp_path / "out" / "results.txt").read_text()
    code, _, err = command("job=evaluate", "run=out", small_run=False)
    assert code == 0, err
    again = json.loads((tmp_path / "out" / "evaluation-last.json").read_text())["protocols"]["center_crop"]
    assert again["miou"]["a+b"] == pytest.approx(results["miou"]["ensemble"])


def test_resume_refuses_what_would_change_results(command, finished):
    code, _, err = command(f"resume={finished.folder.path}", "seed=3", "run.precision=bfloat16", small_run=False)
    assert code == 2
    assert "seed, run.precision cannot be changed" in err


def test_sweep_with_a_wrong_value_runs_the_others(command, tmp_path):
    code, _, err = command("-m", "method=supervised,nonsense", "split.ratio=1/8,1/1000", "hydra.sweep.dir=sweep")
    assert code == 2
    done = sorted(path.parent.name for path in (tmp_path / "sweep").rglob("results.json"))
    assert done == ["method=supervised,split.ratio=1-8"]
    assert "nonsense" in err
    assert "1/1000" in err
    assert "Traceback" not in err


def test_users_own_loss(command, tmp_path, monkeypatch):
    """The short example of docs/extending.md, word for word."""
    page = (Path(__file__).parents[2] / "docs" / "extending.md").read_text("utf-8")
    (tmp_path / "my_robust.py").write_text(page.split("```python\n# my_robust.py\n")[1].split("```")[0])
    (given,) = re.findall(r"^dmtc (imports=\[my_robust\].*)$", page, re.MULTILINE)
    exit_code, _, err = command(*shlex.split(given))
    assert exit_code == 0, err
    metrics = next((tmp_path / "outputs").rglob("metrics.jsonl")).read_text()
    assert '"robust"' in metrics


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "swap",
    ["loss/mutual=flip", "loss/contrastive=none", "schedule=self_training", "model/backbone=resnet18", "split=full"],
)
def test_each_swap_changes_one_part_of_a_working_run(command, small, swap):
    # Full labels leave nothing to pseudo-label; one large network is enough; the width is the tiny one's option.
    extra = {"model/backbone=resnet18": ["method=cbst"]}.get(swap, [])
    rest = [o for o in small if not ("backbone" in swap and "backbone" in o)]
    code, _, err = command(swap, *rest, *extra, "schedule.rounds.label_ratios=[1.0]", small_run=False)
    assert code == 0, err


def test_split_files(command, tmp_path):
    (tmp_path / "mine.txt").write_text("train_00000\ntrain_00003\n")
    code, out, err = command("split=files", "split.labelled=mine.txt")
    assert code == 0, err
    assert "2 of 24 images" in out


def test_translate():
    assert translate(["run=some/dir"]) == ["run_dir='some/dir'"]
    assert translate(["run=default", "run.device=cpu"]) == ["run=default", "run.device=cpu"]
    assert translate(["run=multirun/loss=dmt,seed=0"]) == ["run_dir='multirun/loss=dmt,seed=0'"]
    assert translate(["seed=0", "-m", "method=dmt,dmtc"]) == ["-m", "seed=0", "method=dmt,dmtc"]
    resumed = translate(["resume=it's"])
    assert resumed[0].endswith("it\\'s'")
    assert resumed[1].startswith("hydra.run.dir='/")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("own", [None, "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_threads_wait_passively_unless_the_user_says_how(own, monkeypatch, command):
    """Told before torch is imported: tests/config/test_config.py holds `--help` to need none of it."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
    for name in names:
        monkeypatch.setenv(name, "none")  # so that it is set back
        monkeypatch.delenv(name)
    if own is not None:
        monkeypatch.setenv(own, "user's")
    assert command("--help")[0] == 0
    found = {name: os.environ[name] for name in names if name in os.environ}
    assert found == ({"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "2000"} if own is None else {own: "user's"})
