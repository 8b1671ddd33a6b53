"""Sweeps go to processes of their own: Hydra's joblib launcher, and submitit's with its local executor."""

import json
import multiprocessing
import os
import pickle
import signal
from pathlib import Path

import pytest

import dmtc
from alike import what_came_of
from dmtc.config.hydra_errors import one_line
from dmtc.machine.interruption import RunStopped
from dmtc.run.sweep_folder import SweepFolder


@pytest.fixture
def tiny(small) -> list[str]:
    """One network, one step."""
    return [*small, "method=supervised", "schedule.limit_steps=1", "schedule.start.evaluations=1", "run.pictures=0"]


@pytest.fixture
def no_jobs_left():
    """joblib keeps its processes for the next sweep; here there is none."""
    yield
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(kill_workers=True)


@pytest.mark.slow
def test_joblib_runs_jobs_at_once_and_gives_the_same(command, tiny, tmp_path, no_jobs_left, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=sweep")
    code, _, err = command("-m", *tiny, "seed=0,1", "split.ratio=1/8,1/1000", *launcher, small_run=False)
    assert code == 2, err
    assert "of 4 jobs 2 failed" in err
    assert "Traceback" not in err
    assert "4 jobs, 2 at a time; threads per job: 1" in err
    reasons = [status.reason for status in SweepFolder(tmp_path / "sweep").statuses() if status.state == "failed"]
    assert len(reasons) == 2
    assert all("split.ratio=1/1000 of 24 images" in reason for reason in reasons)
    runs = {path.parent.name: path.parent for path in (tmp_path / "sweep").rglob("results.json")}
    assert set(runs) == {"seed=0,split.ratio=1-8", "seed=1,split.ratio=1-8"}
    alone = dmtc.train(dmtc.compose([*tiny, "seed=1", "split.ratio=1/8"]), tmp_path / "alone").folder.path
    assert what_came_of(runs["seed=1,split.ratio=1-8"]) == what_came_of(alone)
    facts = json.loads((runs["seed=0,split.ratio=1-8"] / "environment.json").read_text())
    assert facts["threads"] == 1, "two jobs share two cores"


@pytest.mark.parametrize(
    ("jobs", "n_jobs", "chosen", "threads"),
    [(2, -1, None, "8"), (32, -1, None, "1"), (3, 8, None, "5"), (6, 4, "2", "2")],
)
def test_joblib_divides_the_cores_among_no_more_than_there_are(jobs, n_jobs, chosen, threads, monkeypatch, capsys):
    import joblib
    from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher

    from hydra_plugins.dmtc_sweeper import _divide_cores, _jobs_at_once

    monkeypatch.setattr(joblib, "cpu_count", lambda: 16)
    monkeypatch.setattr(joblib, "effective_n_jobs", lambda n: 16 if n < 0 else n)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if chosen:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    launcher = JoblibLauncher(n_jobs=n_jobs)
    most = _jobs_at_once(launcher)
    _divide_cores(launcher, most, 1)  # a first, smaller batch
    _divide_cores(launcher, most, jobs)
    at_once = launcher.joblib["n_jobs"]
    assert at_once == min(jobs, 16 if n_jobs < 0 else n_jobs)
    assert capsys.readouterr().err == f"{jobs} jobs, {at_once} at a time; threads per job: {threads}\n"


def test_joblib_cannot_run_no_jobs_at_once(command, tiny, tmp_path):
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=0", "hydra.sweep.dir=sweep")
    code, _, err = command("-m", *tiny, "seed=0,1", *launcher, small_run=False)
    assert code == 2, err
    assert err.startswith("error: hydra.launcher.n_jobs=0: give the number")
    assert not (tmp_path / "sweep").exists()


@pytest.mark.slow
def test_submitit_runs_jobs_and_gives_the_same(command, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as in this process
    launcher = ("hydra/launcher=submitit_local", "hydra.sweep.dir=sweep")
    code, _, err = command("-m", *tiny, "seed=1", *launcher, small_run=False)
    assert code == 0, err
    (run,) = [path.parent for path in Path(tmp_path / "sweep").rglob("results.json")]
    alone = dmtc.train(dmtc.compose([*tiny, "seed=1"]), tmp_path / "alone").folder.path
    assert what_came_of(run) == what_came_of(alone)


def test_a_launcher_that_is_not_installed_says_how_to_get_it():
    error = ValueError(
        "Could not find 'hydra/launcher/submitit_slurm'\nAvailable options in 'hydra/launcher':\n\tbasic"
    )
    assert one_line(error).endswith("pip install 'dmtc[slurm]'")


def test_being_stopped_travels_between_processes():
    stopped = pickle.loads(pickle.dumps(RunStopped(signal.SIGTERM, "at step 3")))
    assert (str(stopped), stopped.exit_code) == ("stopped by SIGTERM at step 3", 143)


def test_asked_to_stop_a_sweep_lets_its_processes_save_first():
    """A second request, and one while nothing runs elsewhere, act at once."""
    from hydra_plugins.dmtc_sweeper import _jobs_stop_first

    with pytest.raises(KeyboardInterrupt), _jobs_stop_first():
        os.kill(os.getpid(), signal.SIGINT)
    child, other = (multiprocessing.get_context("spawn").Process(target=signal.pause) for _ in range(2))

    def ask_twice():
        child.start()
        os.kill(os.getpid(), signal.SIGINT)
        child.join(20)
        other.start()
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), _jobs_stop_first():
        ask_twice()
    assert child.exitcode == -signal.SIGTERM
    assert other.is_alive()
    other.kill()
    other.join()


def test_a_process_begins_no_job_after_it_was_stopped(command, tiny, tmp_path, monkeypatch):
    """As a launcher that has processes would see it: errors, for it would end all other jobs on Ctrl-C."""
    import dmtc.cli.main
    import dmtc.engine.runner

    def asked(*arguments):
        raise RunStopped(signal.SIGTERM, "here")

    monkeypatch.setattr(dmtc.cli.main, "_stopped_job", None)
    monkeypatch.setattr(dmtc.engine.runner.Runner, "run", asked)
    monkeypatch.setattr(dmtc.cli.main, "_is_launched_elsewhere", lambda: True)
    code, _, err = command("-m", *tiny, "seed=0,1", "hydra.sweep.dir=sweep", small_run=False)
    assert code == 143
    assert err.count("stopped by SIGTERM here; resume with") == 1
    assert [path.parent.name for path in (tmp_path / "sweep").rglob("config.yaml")] == ["seed=0"]
