"""Runs survive: killed, signalled or failed at any point, they are gone on with and give the same to the last bit."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import dmtc
from alike import what_came_of
from dmtc.core.errors import ConfigError
from dmtc.run.checkpoints import Checkpoints
from dmtc.run.folder import RunFolder
from short_runs import FOUR_STEPS

SCRIPT = Path(__file__).parents[1] / "helpers" / "stopped_runs.py"


@pytest.fixture(scope="session")
def short(small) -> list[str]:
    """Four phases of four steps; a checkpoint after each, so also between two log records and two scorings."""
    return [
        *small,
        *FOUR_STEPS,
        "run.label_batch=2",
        "run.report=false",
        "run.checkpoint_minutes=0",
    ]


@pytest.fixture(scope="session")
def undisturbed(short, tmp_path_factory) -> dict:
    return what_came_of(dmtc.train(dmtc.compose(short), tmp_path_factory.mktemp("run") / "undisturbed").folder.path)


def stopped(jobs: list[dict], timeout: float = 300) -> list[int]:
    done = subprocess.run(
        [sys.executable, SCRIPT], input=json.dumps(jobs), capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.splitlines()]


def assert_same(folder: Path, undisturbed: dict, case: object = "") -> None:
    got = what_came_of(folder)
    for part, value in undisturbed.items():
        assert got[part] == value, (case, part)


# Where, at which time there, with how many loader processes before, and after.
KILLS = [
    ("start", 1, 0, 0),
    ("step", 3, 0, 1),
    ("step", 14, 1, 0),
    ("checkpoint", 500, 0, 0),
    ("checkpoint named", 12, 0, 0),
    ("label file", 17, 0, 0),
    ("evaluation", 3, 0, 0),
    ("phase done", 3, 0, 0),
    ("results", 1, 0, 0),
]
# Which, the exit code, where, at which time there, and what the message says about it.
SIGNALS = [
    ("SIGINT", 130, "step", 7, "after step 3 of 4 of phase r0-b"),  # after which it is not scored, so saved for this
    ("SIGTERM", 143, "label file", 1, "while labelling by r0-b"),
    ("SIGUSR1", 143, "evaluation", 2, "while scoring r0-a"),
]


@pytest.fixture(scope="module")
def stopped_runs(short, tmp_path_factory) -> tuple[Path, list[int]]:
    """The runs of both lists, "0" ... and "SIGINT" ..., each stopped at its point, and their exit codes."""
    root = tmp_path_factory.mktemp("stopped")

    def job(name: str, point: str, count: int, signum: int, workers: int, group: bool) -> dict:
        return {
            # Those that are killed have a checkpoint after every step; those that are asked save when they are.
            "arguments": [
                *short,
                f"run.workers={workers}",
                f"run.checkpoint_minutes={10 if group else 0}",
                f"hydra.run.dir={root / name}",
            ],
            "output": str(root / f"{name}.txt"),
            "point": point,
            "count": count,
            "signal": signum,
            "group": group,
        }

    killed = [job(str(i), point, count, signal.SIGKILL, n, False) for i, (point, count, n, _) in enumerate(KILLS)]
    asked = [job(name, point, count, getattr(signal, name), 1, True) for name, _, point, count, _ in SIGNALS]
    return root, stopped(killed + asked)


@pytest.mark.parametrize("number", range(len(KILLS)), ids=[f"{kill[0]} {kill[1]}" for kill in KILLS])
def test_a_killed_run_goes_on_to_the_same_results(stopped_runs, undisturbed, number):
    root, codes = stopped_runs
    assert codes[number] == -signal.SIGKILL
    assert not (root / str(number) / "results.json").exists()
    dmtc.resume(root / str(number), {"workers": KILLS[number][-1]})
    assert_same(root / str(number), undisturbed)


@pytest.mark.parametrize("number", range(len(SIGNALS)), ids=[name for name, *_ in SIGNALS])
def test_signals_finish_the_step_save_and_say_how_to_go_on(stopped_runs, undisturbed, number):
    """Sent to every process of the run; the loader's must live on until the step is done."""
    root, codes = stopped_runs
    name, code, *_, where = SIGNALS[number]
    assert codes[len(KILLS) + number] == code
    output = (root / f"{name}.txt").read_text()
    assert f"stopped by {name} {where}; resume with: dmtc resume={root / name}" in output
    assert "Traceback" not in output
    if name == "SIGINT":
        assert len(list((root / name / "phases" / "r0-b").glob("checkpoint-00000003-*.pt"))) == 1
    dmtc.resume(root / name, {"workers": 0})
    assert_same(root / name, undisturbed)


def stop_in_step(monkeypatch, call: int, effect) -> list[int]:
    """Let `effect` take the place of one evaluation of the loss, counted over the whole run."""
    import dmtc.engine.step

    real, calls = dmtc.engine.step.total_loss, []

    def counted(terms, inputs):
        calls.append(1)
        return effect(real(terms, inputs)) if len(calls) == call else real(terms, inputs)

    monkeypatch.setattr(dmtc.engine.step, "total_loss", counted)
    return calls


def raising(error: BaseException):
    def effect(value):
        raise error

    return effect


def not_a_number(value):
    loss, logs = value
    return loss * float("nan"), logs


def begun(short, folder, monkeypatch) -> None:
    """A run that failed in the last step of its first phase, with checkpoints after steps 2 and 3."""
    with monkeypatch.context() as patch:
        stop_in_step(patch, 4, raising(ZeroDivisionError()))
        with pytest.raises(ZeroDivisionError):
            dmtc.train(dmtc.compose(short), folder)


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_is_used(
    short, undisturbed, tmp_path, monkeypatch, capsys, damaged
):
    folder = tmp_path / "run"
    begun(short, folder, monkeypatch)
    files = sorted((folder / "phases" / "r0-a").glob("checkpoint-*.pt"))
    assert [path.name.split("-")[1] for path in files] == ["00000002", "00000003"]
    files[1].write_bytes(files[1].read_bytes()[:-200])
    if damaged == 2:
        content = bytearray(files[0].read_bytes())
        content[len(content) // 2] ^= 1
        files[0].write_bytes(content)
    dmtc.resume(folder, {"progress": "lines"})
    err = capsys.readouterr().err
    assert err.count("is damaged") == damaged
    assert ("r0-a: resuming after step 2 of 4" in err) == (damaged == 1)
    assert_same(folder, undisturbed)


def test_torn_label_files_are_noticed_and_made_again(short, undisturbed, tmp_path, monkeypatch):
    """As a power cut could leave them: the store says that it is complete, a file is empty."""
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_in_step(patch, 11, raising(ZeroDivisionError()))
        with pytest.raises(ZeroDivisionError):
            dmtc.train(dmtc.compose(short), folder)
    store = RunFolder(folder).store("r0-b")
    assert store.is_complete()
    next(store.folder.glob("*.zst")).write_bytes(b"")
    assert not store.is_complete()
    dmtc.resume(folder)
    assert_same(folder, undisturbed)


def test_settings_of_the_machine_are_checked_at_resume(finished):
    before = finished.folder.config_path.read_text()
    with pytest.raises(ConfigError, match=r"run\.workers"):
        dmtc.resume(finished.folder.path, {"workers": "many"})
    assert finished.folder.config_path.read_text() == before


def test_other_settings_are_refused_with_the_difference(short, tmp_path, monkeypatch, command):
    folder = tmp_path / "run"
    begun(short, folder, monkeypatch)
    with pytest.raises(ConfigError, match=r"seed cannot be changed \(seed: 0 -> 1\)"):
        dmtc.train(dmtc.compose([*short, "seed=1"]), folder)
    with pytest.raises(ConfigError, match=r"run.accumulate: 1 -> 2"):
        dmtc.resume(folder, {"accumulate": 2})
    code, _, err = command(f"resume={folder}", "method=dmt", "run.workers=1", small_run=False)
    assert code == 2
    assert "cannot be changed (method.name: dmtc -> dmt" in err
    code, _, err = command(f"resume={folder}", "loss.gamma=3", small_run=False)
    assert code == 2
    assert "loss.gamma cannot be changed" in err
    same = (f"resume={folder}", "seed=0", "run.log_every=2", "logger=csv", "run.progress=off")
    code, _, err = command(*same, small_run=False)
    assert code == 0, err
    assert (folder / "metrics.csv").is_file()


def test_a_loss_that_is_not_finite_stops_and_names_step_images_and_checkpoint(
    short, undisturbed, tmp_path, monkeypatch, command
):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_in_step(patch, 8, not_a_number)
        code, _, err = command(*short, "run.checkpoint_minutes=0", f"hydra.run.dir={folder}", small_run=False)
    assert code == 1
    (checkpoint,) = (folder / "phases" / "r0-b").glob("checkpoint-00000003-*.pt")
    line = err.strip().splitlines()[-1]
    assert "the loss of phase r0-b is nan at step 4 of 4 (images train_" in line
    assert f"the last good checkpoint is phases/r0-b/{checkpoint.name}" in line
    assert f"resume={folder} run.on_nonfinite=skip" in line
    dmtc.resume(folder)  # this time it is finite: nothing of the bad step may be left
    assert_same(folder, undisturbed)


def test_a_step_that_is_not_finite_is_dropped_and_counted(short, tmp_path, monkeypatch, capsys):
    stop_in_step(monkeypatch, 8, not_a_number)
    run = dmtc.train(dmtc.compose([*short, "run.on_nonfinite=skip"]), tmp_path / "run")
    assert [phase["dropped_steps"] for phase in run.results["phases"]] == [[], [4], [], []]
    assert "WARNING: r0-b: step 4 is dropped, as the loss is nan (images train_" in capsys.readouterr().err
    for network in ("a", "b"):
        assert all(value.isfinite().all() for value in run.model(network).state_dict().values())


def test_a_collapsing_round_is_told(short, tmp_path, monkeypatch, capsys):
    import dmtc.engine.scoring

    real = dmtc.engine.scoring.evaluate
    calls = []

    def worse(*arguments):
        calls.append(1)
        (name, scores), *_ = real(*arguments).items()
        # Two scorings a phase; the start's two networks come first.
        return {name: type(scores)(0.6 if len(calls) <= 4 else 0.3, scores.iou, scores.metrics)}

    monkeypatch.setattr(dmtc.engine.scoring, "evaluate", worse)
    run = dmtc.train(dmtc.compose(short), tmp_path / "run")
    assert len(run.results["warnings"]) == 2
    assert run.results["warnings"][0].startswith("r1-a: mIoU fell from 60.0 to 30.0")
    assert "WARNING: r1-a: mIoU fell" in capsys.readouterr().err
    assert run.results["phases"][2]["warnings"] == run.results["warnings"][:1]


def test_lost_classes():
    from dmtc.engine.collapse import fallen_score, lost_classes

    before, now = SimpleNamespace(realized=[0.5, 0.5, None, 0.0]), SimpleNamespace(realized=[0.5, None, None, 0.5])
    assert lost_classes(now, before, "abcd", "r1-b") == ["r1-b no longer labels any pixel as b"]
    assert lost_classes(now, None, "abcd", "r1-b") == lost_classes(before, before, "abcd", "r1-b") == []
    assert fallen_score(0.45, 0.6) == fallen_score(0.1, None) == fallen_score(0.1, float("nan")) == []


ERRORS = {
    "device memory": (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "run.accumulate=2"),
    "loader process": (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error."), "run.workers=1"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_the_machine_does_is_told_in_one_line(short, undisturbed, tmp_path, monkeypatch, command, case):
    folder = tmp_path / "run"
    error, remedy = ERRORS[case]
    with monkeypatch.context() as patch:
        stop_in_step(patch, 12, raising(error))
        code, _, err = command(*short, f"hydra.run.dir={folder}", small_run=False)
    assert code == 1
    line = err.strip().splitlines()[-1]
    assert "Traceback" not in err
    assert remedy in line
    assert "training r1-a" in line
    assert "crops of 32x32" in line or case != "device memory"
    dmtc.resume(folder)
    assert_same(folder, undisturbed)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("number", "file"),
    [(errno.ENOSPC, "checkpoint"), (errno.ENOSPC, ".zst"), (errno.EROFS, "phase.json"), (errno.EACCES, "best")],
)
def test_a_disk_that_takes_no_more_is_told_and_nothing_is_lost(
    short, undisturbed, tmp_path, monkeypatch, command, number, file
):
    folder, real = tmp_path / "run", os.replace

    def full(source, target):
        if file in str(target) and len(list(folder.rglob("phase.json"))) == 2:
            raise OSError(number, os.strerror(number))
        return real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        code, _, err = command(*short, f"hydra.run.dir={folder}", small_run=False)
    assert code == 1, err
    assert "Traceback" not in err
    line = err.strip().splitlines()[-1]
    assert file in line
    assert os.strerror(number) in line
    assert f"dmtc resume={folder}" in line
    dmtc.resume(folder)
    assert_same(folder, undisturbed)


def test_a_full_disk_in_the_middle_of_a_checkpoint_keeps_the_earlier_ones(tmp_path, monkeypatch):
    from dmtc.run import checkpoints

    kept = Checkpoints(tmp_path)
    first = kept.save(1, {"weights": torch.arange(5), "step": 1})
    written = []

    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            written.append(len(data))
            if len(written) > 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

        def flush(self):
            self.file.flush()

    class OnFullDisk(checkpoints._Hashing):
        def __init__(self, file):
            super().__init__(Full(file))

    monkeypatch.setattr(checkpoints, "_Hashing", OnFullDisk)
    with pytest.raises(OSError, match="No space left") as caught:
        kept.save(2, {"weights": torch.arange(50_000), "step": 2})
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == [first]
    loaded = kept.load(lambda path: pytest.fail("it is whole"))
    assert loaded is not None
    assert loaded["weights"].equal(torch.arange(5))


@pytest.mark.slow
def test_thirty_kills_at_random_moments(short, undisturbed, tmp_path):
    """Each run is killed again and again wherever it may be, and has other numbers of loader processes each time."""
    choose = random.Random(0)
    sessions = [
        {
            "arguments": [*short, f"run.workers={workers}", f"hydra.run.dir={tmp_path / str(run)}"],
            "if begun": [f"resume={tmp_path / str(run)}", f"run.workers={workers}"],
            "folder": str(tmp_path / str(run)),
            "output": str(tmp_path / f"{run}-{session}.txt"),
            "seconds": 0.05 * 30 ** choose.random(),  # a whole run takes about one
        }
        for run in range(30)
        for session in range(3)
        for workers in [choose.choice([0, 0, 1, 2])]
    ]
    codes = stopped(sessions, timeout=900)
    assert set(codes) <= {0, -signal.SIGKILL}, codes
    assert codes.count(-signal.SIGKILL) >= 30
    for run in range(30):
        folder = tmp_path / str(run)
        dmtc.resume(folder) if (folder / "config.yaml").is_file() else dmtc.train(dmtc.compose(short), folder)
        assert_same(folder, undisturbed, run)
