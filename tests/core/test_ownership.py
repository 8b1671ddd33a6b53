"""Other people's files: only what dmtc wrote is replaced or removed, and nothing is written among what is read."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import dmtc
from dmtc.core.errors import ConfigError, DataError
from dmtc.core.ownership import Manifest, is_inside, require_own_file
from trees import OWN, save, write_folder

PICTURE = np.full((48, 48, 3), 90, np.uint8)


def snapshot(*folders: Path) -> dict[str, object]:
    """Every file and folder below some folders, links unfollowed, with its content and when it was changed."""
    found = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[str(path)] = content, None if content is None else path.lstat().st_mtime_ns
    assert found, "nothing would be compared"
    return found


def refused(command, *arguments: str, told: str) -> None:
    code, out, err = command(*arguments, small_run=False)
    assert code == 2, out + err
    assert "Traceback" not in err
    (line,) = [one for one in err.splitlines() if one.startswith("error: ")]
    assert told in line


# The rule itself.


def test_folders_are_the_same_under_all_of_their_names(tmp_path, monkeypatch):
    images = tmp_path / "images"
    (images / "city").mkdir(parents=True)
    (tmp_path / "link").symlink_to(images)
    monkeypatch.chdir(tmp_path)
    inside = [images, tmp_path / "link", Path("link/city/new/one"), Path("images/../images/x"), Path("link/../images")]
    assert all(is_inside(path, images) for path in inside)
    assert not any(is_inside(path, images) for path in [tmp_path, tmp_path / "images2", Path("images/../x"), Path()])
    # A mount, or another letter case where that is the same, resolves to another text.
    monkeypatch.setattr(os.path, "realpath", os.path.abspath)
    assert is_inside(tmp_path / "link" / "new", images)


def test_a_manifest_gives_what_was_recorded_and_only_that(tmp_path):
    own = Manifest(tmp_path, "export", "output")
    own.record(["a.bin", "deep/b.bin"])
    (tmp_path / "a.bin").touch()
    (tmp_path / "other").touch()
    own.refuse_foreign(["a.bin", "new"])
    assert own.own() == [tmp_path / "a.bin"]
    with pytest.raises(ConfigError, match=r"other was not written by an earlier job=export.*left alone"):
        own.refuse_foreign(["a.bin", "other"])
    Manifest(tmp_path, "predict", "output").record(["other"])
    with pytest.raises(ConfigError):
        own.refuse_foreign(["other"])
    own.forget_gone()
    assert own.recorded() == {"a.bin"}


@pytest.mark.parametrize("of", ["link", "folder", "linked folder"])
def test_what_took_the_place_of_a_recorded_file_is_foreign(tmp_path, of):
    folder, name = tmp_path / "out", "deep/a.bin"
    own = Manifest(folder, "export", "output")
    own.record([name])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.bin").touch()
    if of == "linked folder":
        (folder / "deep").symlink_to(tmp_path / "mine")
    else:
        (folder / "deep").mkdir()
        (folder / name).mkdir() if of == "folder" else (folder / name).symlink_to(tmp_path / "mine" / "a.bin")
    with pytest.raises(ConfigError):
        own.refuse_foreign([name])
    assert own.own() == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"kind": "export"}',
        b'{"kind": "predict", "files": []}',
        b'{"kind": "export", "files": ["../mine"]}',
        b'{"kind": "export", "files": ["/etc/passwd"]}',
        b'{"kind": "export", "files": ["a/../../mine"]}',
        b'{"kind": "export", "files": ["."]}',
        b'{"kind": "export", "files": [""]}',
        b'{"kind": "export", "files": [3]}',
        b'{"kind": "export", "files": {"a": 1}}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
)
def test_a_manifest_that_is_damaged_or_forged_gives_nothing(tmp_path, content):
    (tmp_path / ".dmtc-export.json").write_bytes(content)
    for ask in (Manifest(tmp_path, "export", "output").recorded, Manifest(tmp_path, "export", "output").own):
        with pytest.raises(ConfigError, match="does not say which files here are dmtc's"):
            ask()
    os.remove(tmp_path / ".dmtc-export.json")
    os.mkfifo(tmp_path / ".dmtc-export.json")
    with pytest.raises(ConfigError, match="is a pipe"):
        Manifest(tmp_path, "export", "output").recorded()


def test_a_json_file_is_replaced_by_one_of_its_kind_alone(tmp_path):
    path = tmp_path / "cost.json"
    require_own_file(path, "job.output", {"precision"})
    path.write_text('{"precision": 1, "more": 2}')
    require_own_file(path, "job.output", {"precision"})
    for other in ('{"mine": 1}', "[]", "mine", ""):
        path.write_text(other)
        with pytest.raises(ConfigError, match="was not written by this job; it is left alone"):
            require_own_file(path, "job.output", {"precision"})
    with pytest.raises(ConfigError, match="is a folder; name a file"):
        require_own_file(tmp_path, "job.output", {"precision"})


# New runs.

FOREIGN = {
    "results.json": b'{"mine": 1}',
    "metrics.jsonl": b"mine",
    "report.html": b"mine",
    "sub/.film.mkv.part": b"a download",
    ".film.mkv.part": b"a download",
    "status.json": b'{"mine": 1}',
    "config.yaml": b"mine: 1\n",
    "NOTES.md": b"mine",
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", FOREIGN)
def test_a_run_does_not_begin_among_files_that_are_no_runs(command, small, tmp_path, name):
    folder = tmp_path / "project"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(FOREIGN[name])
    before = snapshot(folder)
    refused(command, *small, f"hydra.run.dir={folder}", told="holds files that do not belong to a run")
    with pytest.raises(ConfigError, match=r"holds files that do not belong to a run \("):
        dmtc.train(dmtc.compose(small), folder)
    assert snapshot(folder) == before


def test_a_run_begins_where_nothing_is_or_where_one_was_killed_at_once(small, tmp_path):
    few = [*small, "method=supervised", "schedule.limit_steps=1"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").write_text("process 1 on here")
    (tmp_path / "run" / f".config.yaml.{'0' * 32}.part").write_text("half")
    run = dmtc.train(dmtc.compose(few), tmp_path / "run")
    assert run.results
    (tmp_path / "run" / "NOTES.md").write_text("mine")
    assert dmtc.train(dmtc.compose(few), tmp_path / "run").results, (
        "what is added to a run does not keep it from going on"
    )
    assert (tmp_path / "run" / "NOTES.md").read_text() == "mine"


def test_a_sweep_does_not_begin_among_files_that_are_no_sweeps(command, small, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "multirun.yaml").write_text("mine: 1\n")
    before = snapshot(folder)
    refused(
        command, "-m", *small, "seed=0,1", f"hydra.sweep.dir={folder}", told="holds files that do not belong to a sweep"
    )
    assert snapshot(folder) == before


def test_one_job_whose_folder_is_taken_does_not_keep_the_others(command, tmp_path):
    """By a file, by somebody's folder; and the third runs."""
    (tmp_path / "sweep/seed=1").mkdir(parents=True)
    (tmp_path / "sweep/seed=1/status.json").write_text('{"mine": 1}')
    (tmp_path / "sweep/seed=0").write_text("mine")
    (tmp_path / "sweep/sweep.json").write_text(json.dumps({"jobs": [{"name": "", "overrides": [], "asked": 0.0}]}))
    few = ("method=supervised", "schedule.limit_steps=1", "hydra.sweep.dir=sweep")
    code, _, err = command("-m", "seed=0,1,2", *few)
    assert code == 2
    assert "not started: seed=0" in err
    assert "seed=1: failed: " in err
    assert "Traceback" not in err
    assert (tmp_path / "sweep/seed=0").read_text() == "mine"
    assert [path.name for path in (tmp_path / "sweep/seed=1").iterdir()] == ["status.json"]
    assert (tmp_path / "sweep/seed=1/status.json").read_text() == '{"mine": 1}'
    assert (tmp_path / "sweep/seed=2/results.json").is_file()


@pytest.mark.parametrize("option", ["hydra.run.dir", "run.image_cache"])
def test_nothing_is_written_among_images_and_masks(command, tmp_path, option):
    root = write_folder(tmp_path / "data")
    (tmp_path / "link").symlink_to(root / "images")
    before = snapshot(root)
    for place in ("data/images/new", "data/masks", "link/deep/new", "data/../data/images"):
        arguments = [*OWN, f"dataset.root={root}", f"{option}={place}"]
        code, _, err = command(*arguments, small_run=False)
        assert code == 2, err
        assert "masks are" in err or "do not belong to a run" in err
        assert snapshot(root) == before


# Predictions.


@pytest.fixture
def pictures(tmp_path) -> Path:
    for name in ("a", "b"):
        save(tmp_path / "in" / f"{name}.png", PICTURE)
    return tmp_path / "in"


@pytest.fixture
def predict(command, finished, pictures):
    def call(*arguments: str) -> tuple[int, str, str]:
        given = ("job=predict", f"run={finished.folder.path}", f"input={pictures}", "job.write=[index]")
        return command(*given, *arguments, small_run=False)

    return call


@pytest.mark.parametrize("output", ["in", "link", "in/../in", "."])
def test_the_output_is_never_the_input(predict, pictures, tmp_path, output):
    (tmp_path / "link").symlink_to(pictures)
    before = snapshot(pictures)
    code, _, err = predict(f"output={tmp_path / output}")
    assert code == 2
    wanted = "contains input=" if output == "." else "is the input folder"
    assert wanted in err
    assert "choose another folder" in err
    assert len(err.splitlines()) == 1
    assert snapshot(pictures) == before
    assert not (tmp_path / "predictions.json").exists()


def test_predictions_are_not_written_among_the_data_sets_images(command, finished, tmp_path):
    image = next(iter(finished.dataset.images.values()))
    save(tmp_path / "a.png", PICTURE)
    given = ("job=predict", f"run={finished.folder.path}", f"input={tmp_path / 'a.png'}")
    for output, told in (
        (image.parent, "where the data set's images or masks are"),
        (image.parent / "new", "where the data set's images or masks are"),
        (finished.folder.path / "phases" / "new", "which is the run's own"),
    ):
        refused(command, *given, f"output={output}", told=told)
        assert not (output / "predictions.json").exists()


def test_foreign_files_are_not_taken_for_predictions(predict, tmp_path):
    (tmp_path / "out/index").mkdir(parents=True)
    (tmp_path / "out/index/b.png").write_bytes(b"mine")
    before = snapshot(tmp_path / "out")
    for existing in ("refuse", "skip", "replace"):
        code, _, err = predict(f"output={tmp_path / 'out'}", f"job.existing={existing}")
        assert code == 2
        assert "index/b.png was not written by an earlier job=predict and is left alone" in err
        assert snapshot(tmp_path / "out") == before
    (tmp_path / "out/index/b.png").rename(tmp_path / "out/index/c.png")
    assert predict(f"output={tmp_path / 'out'}")[0] == 0
    assert predict(f"output={tmp_path / 'out'}", "job.existing=replace")[0] == 0
    assert (tmp_path / "out/index/c.png").read_bytes() == b"mine"


def test_a_foreign_record_is_not_replaced(predict, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/predictions.json").write_text('{"mine": 1}')
    before = snapshot(tmp_path / "out")
    for existing in ("refuse", "skip", "replace"):
        code, _, err = predict(f"output={tmp_path / 'out'}", f"job.existing={existing}")
        assert code == 2
        assert "predictions.json was not written by an earlier job=predict" in err
    assert snapshot(tmp_path / "out") == before


# Exports.


@pytest.fixture
def export(command, finished, tmp_path):
    def call(*arguments: str) -> tuple[int, str, str]:
        given = ("job=export", f"run={finished.folder.path}", f"output={tmp_path / 'out'}")
        return command(*given, *arguments, small_run=False)

    return call


def test_an_export_replaces_its_own_files_alone(export, tmp_path):
    out = tmp_path / "out"
    assert export("format=safetensors")[0] == 0
    (out / ".git").mkdir()
    (out / ".git/HEAD").write_text("ref")
    (out / "NOTES.md").write_text("mine")
    (out / "model.pt.txt").write_text("mine")
    mine = {path: path.read_text() for path in (out / ".git/HEAD", out / "NOTES.md", out / "model.pt.txt")}
    for format in ("safetensors", "torchscript"):
        code, _, err = export(f"format={format}")
        assert code == 0, err
    assert {path: path.read_text() for path in mine} == mine
    assert (out / "model.safetensors").is_file(), "another format stays"
    assert (out / "model.pt").is_file()
    card = (out / "README.md").read_text()
    assert "from_pretrained" in card
    assert "torch.jit.load" in card
    assert json.loads((out / "export.json").read_text())["beside"].keys() == {"safetensors"}
    assert dmtc.Segmenter.from_pretrained(out).networks == ["a", "b"]
    before = snapshot(out)
    code, _, err = export("format=torchscript", "job.networks=a")
    assert code == 2
    assert "holds format=safetensors of other networks" in err
    assert snapshot(out) == before


@pytest.mark.parametrize("name", ["model.pt", "README.md"])
def test_an_export_does_not_replace_somebody_elses_file_of_its_name(export, tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    before = snapshot(out)
    assert export("format=torchscript")[0] == 2
    Manifest(out, "export", "output").record(["config.json"])
    code, _, err = export("format=torchscript")
    assert code == 2
    assert f"{name} was not written by an earlier job=export" in err
    (out / ".dmtc-export.json").unlink()
    assert snapshot(out) == before


def test_a_killed_export_is_repeated(export, tmp_path, monkeypatch):
    """Killed while its files get to their place: they are its own, and the record is not there."""
    out = tmp_path / "out"
    assert export("format=safetensors")[0] == 0
    (out / "NOTES.md").write_text("mine")
    real = os.replace

    def killed(source, target):
        if Path(target).name == "model.safetensors" and Path(target).parent == out:
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        assert export("format=safetensors")[0] == 130
    assert not (out / "export.json").exists()
    assert not list(tmp_path.rglob("*.part"))
    assert export("format=safetensors")[0] == 0
    assert dmtc.Segmenter.from_pretrained(out).networks == ["a", "b"]


def test_networks_are_not_saved_over_other_files(finished, tmp_path):
    from dmtc.export.exporting import segmenter_of

    segmenter = segmenter_of(finished, "a", "last")
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ConfigError, match=r"README.md does not belong to networks of dmtc"):
        segmenter.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    segmenter.save_pretrained(tmp_path / "new")
    segmenter.save_pretrained(tmp_path / "new")


# Reports.


@pytest.fixture
def reported(finished, tmp_path) -> Path:
    """A copy of a finished run, without the report that another test may have made of it."""
    run = tmp_path / "run"
    shutil.copytree(finished.folder.path, run, ignore=shutil.ignore_patterns("report*", "pictures", ".dmtc*"))
    return run


def test_a_report_replaces_its_own_files_alone(command, reported, tmp_path):
    out = tmp_path / "out"
    (out / "pictures").mkdir(parents=True)
    (out / "report").mkdir()
    (out / "pictures/mine.png").write_text("mine")
    (out / "report/mine.svg").write_text("mine")
    report = ("job=report", f"run={reported}", "run.pictures=2")
    assert command(*report, f"job.out={out}", small_run=False)[0] == 0
    drawn = {path.name for path in (out / "pictures").iterdir()}
    assert len(drawn) == 5, "one of the user's, two validation images and two of a training step"
    (out / "pictures/old.png").write_text("of an earlier report")
    Manifest(out, "report", "job.out").record(["pictures/old.png", "pictures/mine.svg", "../run/results.json"[3:]])
    assert command(*report, f"job.out={out}", small_run=False)[0] == 0
    assert {path.name for path in (out / "pictures").iterdir()} == drawn
    assert (out / "pictures/mine.png").read_text() == (out / "report/mine.svg").read_text() == "mine"
    assert (reported / "results.json").is_file()


LATE = pytest.param("report/miou.png", marks=pytest.mark.slow)  # found when all figures are drawn


@pytest.mark.parametrize("name", ["report.html", LATE, "report/validation.json", "pictures", "report"])
def test_a_report_does_not_replace_somebody_elses_files(command, reported, tmp_path, name):
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    before = snapshot(out)
    refused(command, "job=report", f"run={reported}", f"job.out={out}", told=str(out / name))
    after = {path: content for path, content in snapshot(out).items() if "validation" in path or ".dmtc" not in path}
    assert before.items() <= after.items()
    if name in ("report.html", "pictures", "report"):
        assert after.keys() == before.keys()


def test_a_report_is_not_written_into_another_run_or_its_parts(command, finished, reported):
    before = snapshot(reported)
    given = ("job=report", f"run={finished.folder.path}")
    refused(command, *given, f"job.out={reported}", told="the folder of another run")
    refused(command, "job=report", f"run={reported}", f"job.out={reported}/phases/new", told="the run's own")
    refused(command, "job=report", f"runs={reported}", told="the folder of a run")
    assert snapshot(reported) == before


# What a run deletes.


def test_a_labelling_that_begins_anew_deletes_predictions_alone(tmp_path):
    from dmtc.pseudo import PseudoLabelStore

    label = np.zeros((4, 4), np.uint8)
    store = PseudoLabelStore(tmp_path / "store")
    store.write("a", label, label.astype(np.uint16))
    (store.folder / "notes.txt").write_text("mine")
    store.clear()
    assert [path.name for path in store.folder.iterdir()] == ["notes.txt"]
    (store.folder / "notes.txt").unlink()
    store.clear()
    assert not store.folder.exists()


def test_lines_are_not_appended_to_a_file_that_another_folder_has_too(tmp_path):
    from dmtc.tracking.json_lines import JsonLines

    path, linked, hard = (tmp_path / name for name in ("metrics.jsonl", "linked", "hard"))
    path.write_text('{"phase": "a"}\n')
    os.link(path, hard)
    linked.symlink_to(path)
    for other in (hard, linked):
        lines = JsonLines(other)
        lines.log({"phase": "b"})
        lines.close()
        assert path.read_text() == '{"phase": "a"}\n'
        assert other.read_text() == '{"phase": "a"}\n{"phase": "b"}\n'
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is a pipe"):
        JsonLines(tmp_path / "pipe")


def test_who_holds_a_run_is_told_without_waiting_for_a_pipe(tmp_path):
    """Somebody may have put one in the lock's place."""
    from dmtc.run.folder import RunFolder

    os.mkfifo(tmp_path / ".lock")
    with (
        RunFolder(tmp_path).locked(),
        pytest.raises(ConfigError, match="in use by another process"),
        RunFolder(tmp_path).locked(),
    ):
        pass
