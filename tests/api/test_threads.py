"""A run on the CPU keeps its number of threads, which changes rounding."""

import json
import shutil

import pytest
import torch

import dmtc
from dmtc.api.continuing import keep_threads
from dmtc.run.folder import RunFolder


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A run that began with as many threads as asked for, on four free cores, and is resumed with one."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("dmtc.api.continuing.free_cores", lambda: 4)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = RunFolder(tmp_path)
    (tmp_path / "phases" / "r0-a").mkdir(parents=True)
    (tmp_path / "phases" / "r0-a" / "phase.json").touch()

    def begin(threads):
        folder.write_environment({"threads": threads})
        return folder

    yield begin
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("threads", "lines", "kept"),
    [
        (1, [], 1),
        (2, ["resuming with 2 threads, as before"], 2),
        (8, ["resuming with 1 thread instead of 8 threads: rounding differs; there are only 4 cores"], 1),
        (None, [], 1),  # of an early version
    ],
)
def test_resuming_keeps_threads_if_they_are_free(begun, threads, lines, kept):
    assert keep_threads(begun(threads), torch.device("cpu")) == lines
    assert torch.get_num_threads() == kept


def test_what_the_user_chose_is_kept_and_told(begun, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    expected = ["resuming with 1 thread instead of 2 threads: rounding differs; OMP_NUM_THREADS=2 would keep it"]
    assert keep_threads(begun(2), torch.device("cpu")) == expected
    assert torch.get_num_threads() == 1


def test_threads_of_a_run_that_trained_nothing_or_on_another_device_do_not_matter(begun):
    folder = begun(2)
    assert keep_threads(folder, torch.device("cuda")) == []
    (folder.path / "phases" / "r0-a" / "phase.json").unlink()
    assert keep_threads(folder, torch.device("cpu")) == []


def test_a_resumed_run_records_and_tells_its_threads_and_gives_the_callers_back(finished, begun, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder.path, folder)
    facts = json.loads((folder / "environment.json").read_text())
    (folder / "environment.json").write_text(json.dumps(facts | {"threads": 3}))
    dmtc.resume(folder, run_settings={"progress": "lines"})
    assert "resuming with 3 threads, as before" in capsys.readouterr().err
    assert json.loads((folder / "environment.json").read_text())["threads"] == 3
    assert torch.get_num_threads() == 1
