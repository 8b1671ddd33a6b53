"""Many processes: runs at once share nothing, and several processes carry out one run."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import dmtc
from alike import what_came_of
from dmtc.errors import ConfigError
from dmtc.run_folder import RunFolder
from forked_runs import Forks


@pytest.fixture(scope="module")
def forks():
    """Runs the command line in forks, several at once."""
    process = Forks()
    yield process
    process.close()


@pytest.fixture(scope="module")
def tiny(small) -> list[str]:
    """One network, one step."""
    return [*small, "loss=supervised", "schedule.limit_steps=1", "schedule.start.evaluations=1", "run.pictures=0"]


def test_twenty_runs_at_once_are_twenty_folders_equal_seed_by_seed(forks, tiny, tmp_path):
    """Of one checkout, with the data set still to be made; nobody names a folder."""
    fresh = [*tiny, "dataset.root=data"]
    done = forks.run([{"arguments": [*fresh, f"seed={number % 4}"]} for number in range(20)], tmp_path)
    assert [code for code, _ in done] == [0] * 20, done
    folders = list((tmp_path / "outputs").iterdir())
    assert len(folders) == 20
    by_seed: dict[int, list[dict]] = {}
    for folder in folders:
        seed = json.loads((folder / "results.json").read_text())["seed"]
        by_seed.setdefault(seed, []).append(what_came_of(folder))
    assert {seed: len(runs) for seed, runs in by_seed.items()} == dict.fromkeys(range(4), 5)
    for runs in by_seed.values():
        assert all(run == runs[0] for run in runs)
    assert by_seed[0][0]["files"] != by_seed[1][0]["files"]
    alone = dmtc.train(dmtc.compose([*tiny, "seed=3"]), tmp_path / "alone").folder.path
    assert what_came_of(alone)["files"] == by_seed[3][0]["files"]


def test_a_folder_takes_one_run_at_a_time(tiny, tmp_path, command):
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        for arguments in ([*tiny, f"hydra.run.dir={folder.path}"], [*tiny, "seed=1", f"hydra.run.dir={folder.path}"]):
            code, out, err = command(*arguments, small_run=False)
            assert code == 2, out + err
            assert err.startswith(f"error: {folder.path} is in use by process {os.getpid()} on ")
            assert len(err.splitlines()) == 1
            assert [path.name for path in folder.path.iterdir()] == [".lock"], "nothing is written"
    assert command(*tiny, f"hydra.run.dir={folder.path}", small_run=False)[0] == 0
    with folder.locked():
        code, _, err = command(f"resume={folder.path}", small_run=False)
        assert code == 2
        assert "is in use by process" in err


def test_a_killed_process_leaves_no_lock_even_if_its_children_live_on(tmp_path):
    """As loader processes do for some seconds."""
    script = (
        "import os, signal, time\n"
        "from dmtc.run_folder import RunFolder\n"
        "with RunFolder('run').locked():\n"
        "    if not os.fork():\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "    time.sleep(60)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        folder = RunFolder(tmp_path / "run")
        with pytest.raises(ConfigError, match=f"in use by process {holder.pid} on "), folder.locked():
            pass
        os.kill(holder.pid, signal.SIGKILL)
        os.waitpid(holder.pid, 0)
        with folder.locked():
            pass
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.communicate()


def test_each_job_of_a_sweep_has_a_folder_of_its_own(command, tiny, tmp_path):
    """Also if what is swept is otherwise left out of the name; and those of two sweeps of one moment differ."""
    code, _, err = command("-m", *tiny, "run.workers=0,auto", "seed=0", small_run=False)
    assert code == 0, err
    names = sorted(path.parent.name for path in Path(tmp_path / "multirun").rglob("results.json"))
    assert names == ["run.workers=0", "run.workers=auto"]
