"""The report of one run."""

import dataclasses
import json
import re
import shutil
import signal

import cv2
import numpy as np
import pytest

import dmtc
from dmtc.core.errors import DataError
from dmtc.engine.components import Components
from dmtc.engine.context import RunContext
from dmtc.machine.interruption import Interruption, RunStopped
from dmtc.models.weights.files import sha256_of
from dmtc.report import write_run_report
from dmtc.report.pictures import color_table, panels_of
from dmtc.report.runs import run_charts, validation
from dmtc.report.runs.images import choose
from dmtc.report.runs.run_data import read_run
from dmtc.report.runs.validation import StageScores, predict, score_stages
from dmtc.run.folder import RunFolder
from dmtc.tracking.progress import Progress


@pytest.fixture(scope="module")
def reported(finished, tmp_path_factory):
    """A copy of the finished run with its report."""
    folder = tmp_path_factory.mktemp("reported") / "run"
    shutil.copytree(finished.folder.path, folder)
    run = dmtc.Run.load(folder)
    assert run.report() == folder / "report.html"
    return run


def facts_of(run):
    return read_run(Components(run.config, run.split), run.folder)


def test_page_stands_alone(reported):
    html = (reported.folder.path / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert "url(http" not in html
    for shown in ("dmtc on synthetic", "mIoU over rounds", "IoU of each class", "most improved", "zebra disk", "r2-b"):
        assert shown in html
    body = html.split("</style>")[1]
    assert "prefers-color-scheme: dark" in html
    assert "var(--network-a)" in body
    assert not re.search("#(00805d|8a4fb8|1c2026)", body), "charts follow the page's colors"
    assert len(re.findall("<img ", body)) == 2 * 5 + 2 * 6, "image, truth, start, end and errors; a step"


def test_files_beside_the_page(reported):
    names = {path.stem for path in (reported.folder.path / "report").glob("*.png")}
    assert {"miou", "classes", "labels", "training"} <= names
    assert names == {path.stem for path in (reported.folder.path / "report").glob("*.svg")}
    (picture, _) = (cv2.imread(str(path)) for path in sorted((reported.folder.path / "pictures").glob("val*.png")))
    assert picture.shape[1] > 3 * picture.shape[0]
    assert picture.std() > 20


def test_stages_are_scored_as_the_run_itself_does(reported):
    kept = json.loads((reported.folder.path / "report" / "validation.json").read_text())
    assert list(kept["stages"]) == ["r0-a+r0-b", "r1-a+r1-b", "r2-a+r2-b"]
    last = kept["stages"]["r2-a+r2-b"]
    assert last["miou"] == pytest.approx(reported.results["miou"]["ensemble"])
    assert last["iou"] == pytest.approx(list(reported.results["per_class_iou"].values()))
    id = reported.dataset.val[2]
    truth = reported.dataset.mask(id)
    known = truth != 255
    wrong = (reported.predict(reported.dataset.image(id)) != truth) & known
    assert last["wrong"][id] == pytest.approx(wrong.sum() / known.sum())


def test_predictions_of_earlier_stages_are_those_of_their_weights(reported):
    facts, id = facts_of(reported), reported.dataset.val[0]
    context = RunContext(Components(reported.config, reported.split), reported.folder, Progress([], "off"))
    last, first = (predict(context, facts.stages[i], [id])[id] for i in (-1, 0))
    np.testing.assert_array_equal(last, reported.predict(reported.dataset.image(id)))
    assert (first != last).any()


def test_what_is_known_is_not_scored_again(reported, monkeypatch):
    facts = facts_of(reported)
    context = RunContext(Components(reported.config, reported.split), reported.folder, Progress([], "off"))
    kept = reported.folder.path / "report" / "validation.json"
    monkeypatch.setattr(validation, "_score", None)
    assert len(score_stages(context, facts.stages, kept)) == 3
    context.components.config = context.components.config | {"evaluation": {"name": "another"}}
    with pytest.raises(TypeError):
        score_stages(context, facts.stages, kept)


def test_being_stopped_is_heeded_between_images(reported, tmp_path):
    interruption = Interruption()
    interruption.signum = signal.SIGTERM
    with pytest.raises(RunStopped, match="while making the report"):
        write_run_report(Components(reported.config, reported.split), reported.folder, (), tmp_path, interruption)


def test_choice_of_images():
    before = StageScores(0.0, [], {"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5})
    after = StageScores(0.0, [], {"a": 0.6, "b": 0.1, "c": 0.5, "d": 0.3})
    assert choose(before, after, 3) == [("b", "most improved"), ("d", "most improved"), ("a", "least improved")]
    assert choose(before, after, 99) == [
        ("b", "most improved"),
        ("d", "most improved"),
        ("a", "least improved"),
        ("c", "least improved"),
    ]
    assert choose(after, after, 2) == [("b", "fewest errors"), ("a", "most errors")]
    assert choose(before, after, 0) == []


def test_panels(finished):
    palette = color_table(finished.dataset)
    assert len(np.unique(palette[:7], axis=0)) == 7
    assert (palette[255] == 255).all()
    assert not (palette[:7] == 255).all(axis=1).any(), "white is for ignored pixels"
    image = np.full((2, 4, 3), 90, np.uint8)
    truth = np.array([[0, 1, 2, 255], [0, 1, 2, 3]], np.uint8)
    panels = panels_of(image, truth, [("start", np.ones_like(truth)), ("end", np.full_like(truth, 3))], palette)
    assert [panel.title for panel in panels] == [
        "image",
        "truth",
        "start: 71% wrong",
        "end: 86% wrong",
        "errors at the end",
    ]
    red = (panels[-1].picture == (214, 39, 40)).all(axis=2)
    assert red.tolist() == [[True, True, True, False], [True, True, True, False]]


def test_a_stopped_run_has_a_report_of_what_is_there(finished, tmp_path, command):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder.path, folder)
    (folder / "results.json").unlink()
    for phase in ("r2-a", "r2-b", "r1-b"):
        shutil.rmtree(folder / "phases" / phase)
    code, out, err = command("job=report", "run=run", "run.pictures=1", small_run=False)
    assert code == 0, err
    assert out == f"written to {folder / 'report.html'} and {folder / 'report'}\n"
    html = (folder / "report.html").read_text()
    assert "not finished: 3 of 6 phases done" in html
    assert "fewest errors" in html, "only the start is done by both networks"
    shutil.rmtree(folder / "phases")
    code, _, err = command("job=report", "run=run", small_run=False)
    assert code == 2
    assert "no phase is done by every network" in err
    (folder / "plan.json").unlink()
    assert "was stopped before its first phase" in command("job=report", "run=run", small_run=False)[2]


def test_without_data_or_weights_the_rest_is_told(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder.path, folder)
    (folder / "phases" / "r1-a" / "last.safetensors").unlink()
    html = dmtc.Run.load(folder).report().read_text()
    assert "Without images and the scores of ensembles: " in html
    assert "<img" not in html
    assert "mIoU over rounds" in html


@pytest.mark.slow
def test_other_runs_beside(reported, finished, tmp_path, command):
    run, beside = f"run={reported.folder.path}", f"job.beside=[{finished.folder.path}]"
    code, _, err = command("job=report", run, beside, "job.out=out", small_run=False)
    assert code == 0, err
    assert "<figcaption>dmtc: " in (tmp_path / "out" / "report.html").read_text()
    code, _, err = command("job=report", run, f"runs={tmp_path}", small_run=False)
    assert code == 2
    assert "job=report needs run=RUN_DIR, for one run, or runs=DIR" in err


def test_one_network_without_rounds(small, tmp_path):
    overrides = [*small, "method=supervised", "run.report=true", "schedule.start.evaluations=2"]
    run = dmtc.train(dmtc.compose(overrides), tmp_path / "run")
    html = (run.folder.path / "report.html").read_text()
    for shown in ("mIoU over steps", "fewest errors", "most errors", "network a, start to now"):
        assert shown in html
    assert "Pseudo-labels" not in html


def test_a_report_that_fails_leaves_the_run_finished(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("dmtc.api.launch.write_run_report", lambda *_, **__: 1 / 0)
    run = dmtc.train(dmtc.compose([*small, "method=supervised", "run.report=true"]), tmp_path / "run")
    assert run.results["method"] == "supervised"
    assert "WARNING: no report (division by zero); try again with: dmtc job=report run=" in capsys.readouterr().err


def test_what_is_recorded_of_pseudo_labels_is_drawn(reported):
    """Thresholds, precision, recall and calibration, from records that have them."""
    facts = facts_of(reported)
    for name, record in facts.records.items():
        if record.pseudo:
            pseudo = dataclasses.replace(
                record.pseudo,
                thresholds=[0.9, None, *[0.5] * 5],
                precision=[0.25] * 7,
                recall=[0.75] * 7,
                accuracy=0.8,
                calibration={"confidence": [0.4, 0.9], "accuracy": [0.3, 0.7], "share": [0.1, 0.9], "error": 0.19},
            )
            facts.records[name] = dataclasses.replace(record, pseudo=pseudo)
    tables = run_charts.class_tables(facts)
    assert len(tables) == 6
    assert tables[0][0] == "confidence threshold of a's labels, %"
    assert tables[0][2] == ["1", "2"]
    assert tables[0][3][:2] == [("background", [0.9, 0.9]), ("zebra_disk", [None, None])]
    calibration = run_charts.calibration_charts(facts)
    assert [chart.title for chart in calibration] == ["round 1: error a 19.0, b 19.0", "round 2: error a 19.0, b 19.0"]
    assert "<svg" in calibration[0].svg()
    assert len(run_charts.label_charts(facts)) == 3


def test_curves_go_over_all_phases_of_a_network(reported):
    facts = facts_of(reported)
    named = {chart.title: chart for chart in run_charts.metric_charts(facts)}
    assert next(iter(named)) == "loss"
    assert {"learning rate", "memory bytes"} <= set(list(named)[-4:])
    assert "mutual: student wins" in named
    (score,) = [run_charts.score_chart(facts, {})]
    assert score is not None
    header, rows = score.numbers
    assert header == ["round", "a", "b"]
    records = facts.records
    assert rows[2] == ["2", *(f"{100 * records[name].miou_last:.1f}" for name in ("r2-a", "r2-b"))]


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(DataError, match="no run folder"):
        RunFolder.existing(tmp_path / "x")


@pytest.fixture(scope="module")
def other(small, tmp_path_factory):
    """A run of the same phases with another seed."""
    return dmtc.train(dmtc.compose([*small, "seed=1"]), tmp_path_factory.mktemp("other") / "run")


def scored(run, kept, places=None):
    """The scores of every stage, and the file that they are kept in."""
    components = Components.of(run.folder, run.config["run"], places)
    score_stages(RunContext(components, run.folder, Progress([], "off")), read_run(components, run.folder).stages, kept)
    return kept.read_bytes()


def test_what_is_kept_of_another_run_is_not_taken_for_the_own(reported, other, tmp_path):
    kept = scored(reported, tmp_path / "both.json")
    assert scored(other, tmp_path / "both.json") == scored(other, tmp_path / "own.json") != kept


def test_nothing_is_kept_of_what_was_trained_anew_or_scored_on_other_images(reported, tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    run = dmtc.Run.load(shutil.copytree(reported.folder.path, tmp_path / "run"))
    folder, kept = run.folder, run.folder.path / "report" / "validation.json"
    root = shutil.copytree(reported.config["dataset"]["root"], tmp_path / "data")
    real, anew = validation._score, []
    monkeypatch.setattr(validation, "_score", lambda context, stage: anew.append(stage.key) or real(context, stage))

    def again(places=None):
        anew.clear()
        scored(run, kept, places)
        return list(anew)

    assert again() == []
    assert again({"dataset.root": str(root)}) == [], "it lies elsewhere, and is the same"
    path = folder.weights_path("r1-a")
    save_file({name: value + 0.5 if value.ndim == 4 else value for name, value in load_file(path).items()}, path)
    record = folder.read_phase("r1-a")
    record.weights["last"] = sha256_of(path)
    folder.write_phase(record)
    later = folder.read_phase("r2-a")
    later.made_from["weights"] = record.weights["last"]
    folder.write_phase(later)
    assert again() == ["r1-a+r1-b"]

    for mask in root.rglob("labels/val/*.png"):
        cv2.imwrite(str(mask), 1 - np.minimum(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED), 1))
    with pytest.raises(DataError, match=r"the mask of the validation image val_\d+ holds something else"):
        again({"dataset.root": str(root)})
    config = folder.read_config()
    folder.write_config(config | {"dataset": config["dataset"] | {"root": str(root)}})
    assert again() == ["r0-a+r0-b", "r1-a+r1-b", "r2-a+r2-b"]


def test_without_its_data_a_report_has_what_was_found_before(reported, tmp_path, monkeypatch):
    folder = RunFolder(shutil.copytree(reported.folder.path, tmp_path / "run"))
    config = folder.read_config()
    folder.write_config(config | {"dataset": config["dataset"] | {"root": "/dev/null/gone"}})
    monkeypatch.setattr("dmtc.report.runs.run_report.sheet", lambda found, columns: {})
    html = write_run_report(Components.of(folder, config["run"]), folder).read_text()
    assert "Without images: /dev/null/gone" in html
    assert "mIoU of the ensemble, round 2" in html
