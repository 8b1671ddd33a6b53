"""The test part: never trained on, never chosen on, scored once at the end."""

import csv
import json
import shutil
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

import dmtc
from dmtc.checking import check_data, summary
from dmtc.cli.jobs.plan import _scored_line
from dmtc.core.errors import DataError
from dmtc.data import Dataset
from dmtc.engine.components import Components
from dmtc.report import plan_table, results_table, write_run_report, write_sweep_report
from dmtc.tracking import CsvLogger, WandbLogger
from dmtc.tracking.part_scores import part_scores
from trees import OWN, save, write_folder

LETTERS = {"a", "b"}


def settings(root, *more):
    return dmtc.compose([*OWN, f"dataset.root={root}", "method=dmt", *more])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Eight labelled, two unlabelled and two validation images, and three of a folder called Test."""
    root = write_folder(tmp_path_factory.mktemp("data"))
    for index in range(3):
        for kind in ("images", "masks"):
            with Image.open(root / f"{kind}/p{index:02}.png") as picture:
                save(root / f"{kind}/Test/t{index}.png", np.roll(np.array(picture), 5, axis=0))
    return root


@pytest.fixture(scope="module")
def seen():
    """Ids of test images in the order they were read, and how many phases were done by then."""
    return []


@pytest.fixture(scope="module")
def run(root, seen, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "open"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("image", "mask"):
            reader = getattr(Dataset, name)

            def read(self, id, name=name, reader=reader):
                if id.startswith("Test/"):
                    seen.append((name, id, len(list(folder.glob("phases/*/phase.json")))))
                return reader(self, id)

            patch.setattr(Dataset, name, read)
        return dmtc.train(settings(root, "logger=csv"), folder)


@pytest.fixture(scope="module")
def closed(root, tmp_path_factory):
    return dmtc.train(settings(root, "run.test=false"), tmp_path_factory.mktemp("runs") / "closed")


def test_each_test_image_is_read_once_after_the_last_phase(run, seen):
    assert run.dataset.test == ("Test/t0", "Test/t1", "Test/t2")
    phases = len(run.plan)
    assert phases == 4
    expected = [(kind, id, phases) for id in run.dataset.test for kind in ("image", "mask")]
    assert sorted(seen) == sorted(expected)
    used = {*run.split.labelled, *run.split.unlabelled}
    assert len(used) == 10
    assert not used & set(run.dataset.test)


def test_the_scores_are_those_of_the_last_networks(run):
    test = run.results["test"]
    assert test["images"] == 3
    counts = np.zeros((2, 2), np.int64)
    for id in run.dataset.test:
        sample = run.dataset.sample(id)
        predicted = run.predict(sample.image)
        for truth in (0, 1):
            for guess in (0, 1):
                counts[truth, guess] += int(((sample.label == truth) & (predicted == guess)).sum())
    iou = [float(counts[c, c] / (counts[c].sum() + counts[:, c].sum() - counts[c, c])) for c in (0, 1)]
    assert list(test["per_class_iou"].values()) == pytest.approx(iou, abs=1e-9)
    assert test["miou"]["ensemble"] == pytest.approx(sum(iou) / 2, abs=1e-9)
    assert all(0 < test["miou"][letter] < 1 for letter in LETTERS)


def test_nothing_else_depends_on_it(run, closed):
    assert "test" not in closed.results
    one, other = dict(run.results), dict(closed.results)
    assert one.pop("test")
    for of in (one, other):
        for phase in of["phases"]:
            for key in [key for key in phase if "seconds" in key or "per_s" in key or "memory" in key]:
                del phase[key]
        for key in ("seconds", "cpu_seconds", "environment", "commit"):
            del of[key]
    assert one == other
    networks = [run.folder.weights_path(phase.name) for phase in run.plan]
    assert len(networks) == 4
    for path in networks:
        twin = closed.folder.path / path.relative_to(run.folder.path)
        assert path.read_bytes() == twin.read_bytes()


def test_a_finished_run_is_not_scored_again_and_a_closed_one_can_be_opened(run, closed, monkeypatch):
    before = json.loads(run.folder.results_path.read_text())["test"]
    mask = Dataset.mask
    read = []
    monkeypatch.setattr(Dataset, "mask", lambda self, id: (read.append(id), mask(self, id))[1])
    again = dmtc.resume(run.folder.path, run.config["run"] | {"test": False})
    assert again.results["test"] == before
    assert not any(id.startswith("Test/") for id in read)
    opened = dmtc.resume(closed.folder.path, closed.config["run"] | {"test": True})
    assert opened.results["test"] == before
    assert sum(id.startswith("Test/") for id in read) == 3


def test_a_closed_part_may_be_broken_and_an_open_one_is_told_at_the_end(root, tmp_path):
    data = shutil.copytree(root, tmp_path / "data")
    for path in [*data.glob("images/Test/*"), *data.glob("masks/Test/*")]:
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"training is done, .* resume=.*run.test=false\)") as told:
        dmtc.train(settings(data, "method=supervised", "dataset.classes=[ground,thing]"), tmp_path / "run")
    assert "\n" not in str(told.value)
    finished = dmtc.resume(tmp_path / "run", {"test": False})
    assert "test" not in finished.results


def test_it_is_shown_wherever_scores_are(run, tmp_path):
    test = run.results["test"]["miou"]
    percent = f"{100 * test['ensemble']:.1f}"
    table = results_table(run.results)
    assert f"ensemble {percent} (3 images, on which nothing was chosen)" in table
    assert "on test" in table
    with open(run.folder.path / "metrics.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert (last["phase"], float(last["test_miou_ensemble"])) == ("test", test["ensemble"])
    page = run.report().read_text()
    assert f"<b>{percent} %</b><span>mIoU of the ensemble on 3 test images</span>" in page
    text, page = write_sweep_report(run.folder.path.parent, ["seed"], [], tmp_path)
    mean = f"{50 * (test['a'] + test['b']):.1f}"
    header, row = (line for line in text.splitlines() if line.startswith(("| labelled | method", "| full")))
    cells = dict(zip(*([cell.strip() for cell in line.split("|")] for line in (header, row)), strict=True))
    assert cells["test"] == mean
    assert mean in page.read_text()
    rows = list(csv.DictReader((tmp_path / "report/rows.csv").read_text().splitlines()))
    assert float(rows[0]["test_mean"]) == pytest.approx((test["a"] + test["b"]) / 2)
    runs = list(csv.DictReader((tmp_path / "report/runs.csv").read_text().splitlines()))
    assert float(runs[0]["test_ensemble"]) == test["ensemble"]


def test_the_csv_logger_says_nothing_of_a_test_part_that_is_not_there(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"phase": "r0-a", "loss": 1.0}\n')
    CsvLogger(folder=tmp_path).finish({"miou": {}})
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["phase,loss", "r0-a,1.0"]


def test_check_and_plan_count_it(root):
    components = Components(dmtc.engine.checks.settle(settings(root)))
    text = summary(check_data(components), 5)
    assert "15 images (8 labelled, 2 unlabelled, 2 validation, 3 test)" in text
    assert "test: the 3 images of" in text
    assert "never trained on, scored once at the end" in text
    assert "test pixels" in text
    plan = plan_table("dmtc", components.plan, components.split, components.choices, _scored_line(components))
    assert "scored: 2 validation images after each phase, 3 test images once, at the end" in plan
    shut = Components(dmtc.engine.checks.settle(settings(root, "run.test=false")))
    text = summary(check_data(shut), 5)
    assert "12 images (8 labelled, 2 unlabelled, 2 validation, and 3 of the test part not opened)" in text
    assert "never trained on, not opened: run.test=false" in text


def test_check_tells_of_faults_and_copies_in_it(root, tmp_path):
    data = shutil.copytree(root, tmp_path / "data")
    shutil.copy(data / "images/p00.png", data / "images/Test/t0.png")
    (data / "masks/Test/t1.png").write_bytes(b"broken")
    components = Components(dmtc.engine.checks.settle(settings(data, "dataset.classes=[ground,thing]")))
    found = {finding.kind: finding for finding in check_data(components).findings}
    assert found["same image in the test part and elsewhere"].text == "p00 (labelled), Test/t0 (test)"
    assert found["unreadable mask"].stops
    assert found["unreadable mask"].role == "test"


@pytest.mark.parametrize("job", ["check", "plan"])
def test_the_command_of_a_run_can_be_checked_and_planned(command, root, tmp_path, job):
    """With its folder, into which nothing is written."""
    code, out, err = command(f"job={job}", *OWN, f"dataset.root={root}", "hydra.run.dir=out", small_run=False)
    assert code == 0, err
    assert "3 test images once" in out or "3 test)" in out
    assert not (tmp_path / "out").exists()


def test_evaluate_shows_parts_side_by_side(run, tmp_path, command):
    copy = tmp_path / "copy"
    shutil.copytree(run.folder.path, copy)
    code, out, err = command("job=evaluate", f"run={copy}", "job.parts=[val,test]", small_run=False)
    assert code == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["scored:", "2", "validation", "images", "of", "the", "data", "set", "of", "the", "run"]
    assert lines[1][:3] == ["scored:", "3", "test"]
    percent = {part: f"{100 * of['miou']['ensemble']:.1f}" for part, of in parts(run.results).items()}
    assert ["mIoU", "on", "a", "b", "a+b"] in lines
    assert {line[0]: line[-1] for line in lines if line[:1] in (["val"], ["test"])} == percent
    assert ["class", "val", "test"] in lines
    assert lines[-1] == ["mIoU", percent["val"], percent["test"]]
    for name, part in (("evaluation-last.json", "val"), ("evaluation-last-test.json", "test")):
        record = json.loads((copy / name).read_text())
        assert record["dataset"]["part"] == part
        assert record["protocols"]["original"]["confusion"]["a+b"] == parts(run.results)[part]["confusion"]


def parts(results):
    return {"val": results, "test": results["test"]}


@pytest.mark.parametrize("given", ["[val,val]", "[auto,val]", "[]", "[val] job.part=test"])
def test_parts_that_are_no_list_of_parts_are_refused(run, command, given):
    code, _, err = command("job=evaluate", f"run={run.folder.path}", *f"job.parts={given}".split(), small_run=False)
    assert code == 2
    assert "job.parts" in err


def test_report_and_wandb_have_a_table_of_both_parts(run, tmp_path):
    rows = {(name, of): values for name, of, *values in part_scores(run.results)}
    miou, test = run.results["miou"], run.results["test"]["miou"]
    assert rows["mIoU", "b"] == [miou["b"]["last"], test["b"]]
    assert rows["mIoU", "ensemble"] == [miou["ensemble"], test["ensemble"]]
    assert rows["f1", "a"] == [of["metrics"]["f1"]["a"] for of in parts(run.results).values()]
    assert len([name for name, _ in rows if name.startswith("IoU of ")]) == 2

    page = write_run_report(Components.of(run.folder), run.folder, out=tmp_path / "out").read_text()
    shown = "".join(f"<td>{cell}</td>" for cell in ("mIoU", "b", *(f"{100 * of:.1f}" for of in rows["mIoU", "b"])))
    assert shown in page

    logger = WandbLogger.__new__(WandbLogger)
    logger._wandb, logger._run, logger._artifacts = Mock(), Mock(), []
    logger.finish(run.results)
    (call,) = logger._wandb.Table.call_args_list
    assert call.kwargs["columns"] == ["score", "of", "validation", "test"]
    assert call.kwargs["data"] == [list(row) for row in part_scores(run.results)]
    assert logger._run.log.call_args.args[0].keys() == {"final/parts"}
    (summary,) = logger._run.summary.update.call_args.args
    assert "confusion" not in summary.keys() | summary["test"].keys()
    assert summary["test"]["miou"] == test


def test_without_a_test_part_there_is_no_such_table(run):
    assert part_scores({key: value for key, value in run.results.items() if key != "test"}) == []
