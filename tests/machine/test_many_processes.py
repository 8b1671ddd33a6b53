"""Many processes: runs at once share nothing, and several processes carry out one run."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import dmtc
from alike import what_came_of
from dmtc.core.errors import ConfigError
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.engine.networks import Networks
from dmtc.machine.processes import Processes
from dmtc.machine.settings import pick_device
from dmtc.pseudo.compression import decode
from dmtc.run.folder import RunFolder
from forked_runs import Forks, assert_all_done, pair


@pytest.fixture(scope="module")
def forks():
    """Runs the command line in forks, several at once."""
    process = Forks()
    yield process
    process.close()


@pytest.fixture(scope="module")
def tiny(small) -> list[str]:
    """One network, one step."""
    return [*small, "method=supervised", "schedule.limit_steps=1", "schedule.start.evaluations=1", "run.pictures=0"]


@pytest.mark.slow
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
        "from dmtc.run.folder import RunFolder\n"
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


CONTRAST = ["method=dmtc", "loss.contrastive.queries=32", "loss.contrastive.negatives=32"]


@pytest.fixture
def short(small) -> list[str]:
    """Four phases of four steps, on batches that two processes cannot share evenly."""
    return [
        *small,
        "imports=[own_networks]",
        "schedule.rounds.label_ratios=[0.5]",
        "schedule.start.labelled_batch=3",
        "schedule.rounds.labelled_batch=1",
        "schedule.rounds.pseudo_batch=6",
        "schedule.limit_steps=4",
        "schedule.start.evaluations=2",
        "schedule.rounds.evaluations=1",
        "run.log_every=3",
        "run.label_batch=4",
        "run.pictures=0",
    ]


def assert_close(one: Path, other: Path) -> None:
    """Weights, scores and pseudo-labels but for rounding; not what batch normalization has seen while training."""
    paths = sorted(path.relative_to(one) for path in one.glob("phases/*/last.safetensors"))
    assert len(paths) == 4
    for path in paths:
        expected, got = load_file(one / path), load_file(other / path)
        assert got.keys() == expected.keys()
        for name, tensor in got.items():
            if "running" not in name and "tracked" not in name:
                torch.testing.assert_close(tensor, expected[name], rtol=2e-4, atol=2e-5)
    results = [json.loads((folder / "results.json").read_text()) for folder in (one, other)]
    assert results[1]["miou"]["ensemble"] == pytest.approx(results[0]["miou"]["ensemble"], abs=0.005)
    assert results[1]["per_class_iou"] == pytest.approx(results[0]["per_class_iou"], abs=0.01)
    assert results[1]["split"] == results[0]["split"]
    for phase, expected in zip(results[1]["phases"], results[0]["phases"], strict=True):
        assert phase["miou_last"] == pytest.approx(expected["miou_last"], abs=0.005)
        assert (phase["pseudo"] or {}).get("scored") == (expected["pseudo"] or {}).get("scored")
    logged = [
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()] for folder in (one, other)
    ]
    assert any("loss" in record for record in logged[0])
    for record, expected in zip(logged[1], logged[0], strict=True):
        assert set(record) == set(expected)
        for key in {"loss", "gradient_norm"} & set(expected):
            assert record[key] == pytest.approx(expected[key], rel=1e-3)
    labels = sorted(path.relative_to(one) for path in one.glob("pseudo_labels/*/*.zst"))
    assert labels == sorted(path.relative_to(other) for path in other.glob("pseudo_labels/*/*.zst"))
    assert len(labels) == 2 * 21
    for path in labels:
        for of_one, of_other in zip(*(decode((folder / path).read_bytes()) for folder in (one, other)), strict=True):
            assert np.mean(np.abs(of_one.astype(int) - of_other) > 1) < 0.005, path
    histograms = [np.load(folder / "pseudo_labels/r0-a/histogram.npy").sum() for folder in (one, other)]
    assert histograms[0] == histograms[1] == 21 * 48 * 48


def test_two_processes_give_what_one_gives(forks, short, tmp_path):
    """Without contrast the whole batch counts; with it, and with dropout, each part as under accumulation."""
    plain = [*short, "method=dmt", "model.backbone.name=plain"]
    dropping = [*short, *CONTRAST, "model.backbone.name=dropping"]
    done = forks.run(
        [
            {"arguments": [*plain, "hydra.run.dir=plain-1"]},
            *pair(*plain, "hydra.run.dir=plain-2", "run.workers=1"),
            {"arguments": [*dropping, "run.accumulate=2", "hydra.run.dir=dropping-1"]},
            *pair(*dropping),
        ],
        tmp_path,
    )
    assert_all_done(done)
    assert_close(tmp_path / "plain-1", tmp_path / "plain-2")
    (dropping_2,) = (tmp_path / "outputs").iterdir()  # both found one name for it
    assert_close(tmp_path / "dropping-1", dropping_2)
    assert json.loads((dropping_2 / "environment.json").read_text())["processes"] == 2
    assert "supervised start" in done[1][1]
    assert done[2][1] == "", "the second process shows nothing"


def test_stopped_together_they_go_on_pair(forks, short, tmp_path):
    """One of them is asked to; running statistics of batch normalization are the same in both."""
    normalized = [*short, *CONTRAST]
    stopped = [
        pair(*normalized, f"hydra.run.dir={point}", stop={rank: (point, count, signal.SIGTERM)})
        for rank, point, count in ((1, "step", 6), (0, "label file", 3))
    ]
    done = forks.run([*pair(*normalized, "hydra.run.dir=undisturbed"), *stopped[0], *stopped[1]], tmp_path)
    assert [code for code, _ in done] == [0, 0, 143, 143, 143, 143], done
    told = [text for _, text in done[2:4] if "stopped by SIGTERM after step 2 of 4 of phase r0-b; resume with" in text]
    assert len(told) == 1, done
    assert "Traceback" not in "".join(text for _, text in done)
    done = forks.run([*pair("resume=step", "run.workers=1"), *pair("resume=label file")], tmp_path)
    assert_all_done(done)
    for folder in ("step", "label file"):
        assert what_came_of(tmp_path / folder) == what_came_of(tmp_path / "undisturbed")


def test_a_fault_of_one_ends_all_with_its_code_and_one_line(forks, short, data_root, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(data_root, root)
    for path in root.glob("*/images/val/val_00005.png"):  # of the second block of four: the second process reads it
        path.write_bytes(b"no picture")
    own = [*short, "method=supervised", f"dataset.root={root}"]
    poisoned = [*short, "method=supervised", "+loss.poison={name: poison, weight: {start: 1.0, rounds: 0.0}}"]
    done = forks.run(
        [
            *pair(*own, "hydra.run.dir=image"),
            *pair(*short, "loss=dmtcc"),
            *pair(*short, "split.ratio=1/1000"),
            *pair(*short, "schedule.rounds.labelled_batch=0", "schedule.rounds.pseudo_batch=1"),
            *pair(*short, "run.sync_batchnorm=true"),
            *pair("-m", *short, "seed=0,1"),
            *pair(*short, "run.parallel_students=true", "method=supervised"),
            {"arguments": [*short, "run.parallel_students=true"]},
            *pair(*short, stop={1: ("step", 3, signal.SIGKILL)}),
            *pair(*poisoned),
            *pair(*poisoned, "run.on_nonfinite=skip", "hydra.run.dir=skipped"),
        ],
        tmp_path,
    )
    expected = ["val_00005.png", "dmtcc", "1/1000", "2 processes cannot share a batch of 1", "needs CUDA devices"]
    expected += ["a sweep (-m)", "but has 2 for 1"]
    for number, text in enumerate(expected):
        (first, first_text), (second, second_text) = done[2 * number : 2 * number + 2]
        assert (first, second) == (2, 2), (text, first_text, second_text)
        told = (first_text + second_text).strip().splitlines()
        assert len(told) == 1, told
        assert told[0].startswith("error: ")
        assert text in told[0]
    code, text = done[14]
    assert code == 2
    assert "torchrun --nproc-per-node=2" in text
    assert "but has 1 for 2" in text
    assert [code for code, _ in done[15:]] == [1, -signal.SIGKILL, 1, 1, 0, 0]
    told = [line for _, text in done[17:19] for line in text.splitlines() if line.startswith("error: ")]
    assert len(told) == 1, done[17:19]
    assert "the loss of phase r0-a is nan at step 2 of 4" in told[0]
    assert told[0].count("train_") == 3, "of the whole batch"
    (skipped,) = json.loads((tmp_path / "skipped" / "results.json").read_text())["phases"]
    assert skipped["dropped_steps"] == [2]
    assert "error: another process of this run has ended" in done[15][1]
    assert "Traceback" not in "".join(text for _, text in done)


def test_each_process_trains_one_network_of_a_round_to_the_same_results(forks, short, tmp_path):
    """Also if it is stopped, and gone on with by one process or by two."""
    started = [*short, *CONTRAST, "run.checkpoint_minutes=0"]
    both = [*started, "run.parallel_students=true"]
    stopped = [
        pair(*both, f"hydra.run.dir={name}", stop={1: ("step", 7, signal.SIGKILL)}) for name in ("killed", "other")
    ]
    done = forks.run(
        [
            {"arguments": [*started, "hydra.run.dir=serial"]},
            *pair(*both, "hydra.run.dir=parallel"),
            *stopped[0],
            *stopped[1],
        ],
        tmp_path,
    )
    assert [code for code, _ in done] == [0, 0, 0, 1, -signal.SIGKILL, 1, -signal.SIGKILL], done
    done = forks.run(
        [
            *pair("resume=killed", "run.log_every=3"),
            {"arguments": ["resume=other", "run.parallel_students=false"]},
        ],
        tmp_path,
    )
    assert_all_done(done)
    serial = what_came_of(tmp_path / "serial")
    for folder in ("parallel", "killed", "other"):
        assert what_came_of(tmp_path / folder) == serial
        assert not list((tmp_path / folder).glob("phases/*/metrics.jsonl"))


def test_sync_batchnorm_changes_the_layers_and_nothing_that_is_saved(small, tmp_path):
    """What the layers do is torch's matter, and works on CUDA alone."""
    components = Components(settle(dmtc.compose([*small, "run.sync_batchnorm=true"])))
    components.processes = Processes.__new__(Processes)  # nobody is there
    components.processes.size = 2
    model = Networks(components, RunFolder(tmp_path)).instance("a").eval()
    plain = components.model("a").eval()
    kinds = {type(module) for module in model.modules()}
    assert nn.SyncBatchNorm in kinds
    assert nn.BatchNorm2d not in kinds
    assert {name: value.shape for name, value in model.state_dict().items()} == {
        name: value.shape for name, value in plain.state_dict().items()
    }
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(model(images), plain(images), atol=1e-6)


def test_every_process_has_a_device_of_its_own(monkeypatch):
    processes = Processes.__new__(Processes)
    processes.size = processes.local_size = 2
    processes.local_rank, chosen = 1, []
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert pick_device("auto", processes) == pick_device("cuda", processes) == torch.device("cuda", 1)
    assert chosen == [1, 1]
    assert pick_device("cpu", processes) == torch.device("cpu")
    with pytest.raises(ConfigError, match=r"cuda:0.* each its own device"):
        pick_device("cuda:0", processes)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(ConfigError, match="2 processes on this machine, but 1 CUDA devices"):
        pick_device("auto", processes)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert pick_device("auto", processes) == torch.device("cpu")
