"""What the tests share: a small generated data set, and overrides that make a whole run take seconds."""

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import dmtc

collect_ignore_glob = ["fuzz*.py", "mutants.py", "promises.py", "trials.py"]
"""Commands of their own, without examples; `mutants.py` needs a package that the tests do not."""

# Small tensors: threads would only wait for each other, and sums would depend on their number.
torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)  # before `-m "not slow"` is looked at
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave most cases of tests that are `sampled` to the long run."""
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("sampled") and not item.get_closest_marker("slow"):
            cases[item.nodeid.partition("[")[0]].append(item)
    for same in cases.values():
        marker = same[0].get_closest_marker("sampled")
        assert marker is not None
        count = min(marker.args[0], len(same))
        chosen = {number * len(same) // count for number in range(count)}
        for number, item in enumerate(same):
            if number not in chosen:
                item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def bytecode_is_kept(tmp_path_factory) -> Iterator[None]:
    """Where Python may not write bytecode, as in many containers, each process of a test would compile torch anew."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.dont_write_bytecode:
            patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
            own = tmp_path_factory.getbasetemp()
            shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
            patch.setenv("PYTHONPYCACHEPREFIX", str(shared / "bytecode"))
        yield


@pytest.fixture(scope="session")
def data_root(tmp_path_factory) -> Path:
    """Cache folder of the built-in data set, drawn once for all tests."""
    return tmp_path_factory.mktemp("synthetic")


@pytest.fixture(scope="session")
def small(data_root) -> list[str]:
    """Overrides for a run of a few seconds: 24 + 6 images of 48 pixels, two rounds, two steps a phase."""
    return [
        f"dataset.root={data_root}",
        "dataset.train_images=24",
        "dataset.val_images=6",
        "dataset.size=48",
        "dataset.augment.crop=[32,32]",
        "model.backbone.width=8",
        "schedule.rounds.label_ratios=[0.5,1.0]",
        "schedule.limit_steps=2",
        "run.device=cpu",
        "run.progress=off",
        "run.report=false",
        "run.pictures=2",
    ]


@pytest.fixture(scope="session")
def finished(small, tmp_path_factory) -> "dmtc.Run":
    """A finished DMTC run. Read it, do not change it."""
    return dmtc.train(dmtc.compose(small), tmp_path_factory.mktemp("run") / "finished")


@pytest.fixture
def command(small, tmp_path, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in an empty folder: `command("method=dmt")` -> exit code, stdout, stderr."""
    from dmtc.cli.main import main

    monkeypatch.chdir(tmp_path)
    # Hydra composes every config twice, first only to see whether it asks for a sweep: half of a short command's time.
    monkeypatch.setattr("hydra._internal.hydra.Hydra.get_mode", lambda *_, **__: None)

    def call(*arguments: str, small_run: bool = True) -> tuple[int, str, str]:
        code = 0
        try:
            main([*(small if small_run else []), *arguments])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
        out, err = capsys.readouterr()
        return code, out, err

    return call
