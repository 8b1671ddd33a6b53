"""A copy of the checkout, in which code is broken on purpose and tests are run in forks that have torch imported."""

import contextlib
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
LIBRARIES = (
    *("torch", "torchvision", "timm", "hydra", "omegaconf", "numpy", "cv2", "PIL.Image", "yaml", "safetensors.torch"),
    *("beartype.door", "filelock", "tqdm", "jinja2", "matplotlib.figure", "hypothesis", "pytest", "_pytest.doctest"),
)


def copied(place: Path) -> Path:
    """A copy of the checkout, from which this process and its forks import dmtc from now on."""
    for name in LIBRARIES:
        importlib.import_module(name)
    assert "dmtc" not in sys.modules
    copy = place.resolve() / "checkout"
    listed = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout
    for name in filter(lambda name: (CHECKOUT / name).is_file(), listed.splitlines()):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / name, copy / name)
    sys.path[:0] = [str(copy / "src")]
    os.environ["PYTHONPATH"] = str(copy / "src")
    sys.dont_write_bytecode = False  # what has no fault is compiled once
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return copy


_changes = int(time.time()) - 10**7


@contextlib.contextmanager
def changed(path: Path, code: str):
    """Other code in a file for a while."""
    global _changes
    _changes += 1
    source = path.read_text()
    try:
        path.write_text(code)
        os.utime(path, (_changes, _changes))  # or bytecode of the code before could be taken for this one's
        yield
    finally:
        path.write_text(source)
        os.utime(path, (_changes - 10**6, _changes - 10**6))


def in_a_fork(work: Callable[[], int], output: Path, timeout: float) -> int | None:
    """Exit code of what a fork does, or None if it took too long."""
    child = os.fork()
    if not child:
        code = 70
        try:
            os.setpgid(0, 0)
            with output.open("wb") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    end = time.monotonic() + timeout
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid or time.monotonic() > end:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # with all that it has started
            if not pid:
                os.waitpid(child, 0)
            return os.waitstatus_to_exitcode(status) if pid else None
        time.sleep(0.05)


def run_pytest(copy: Path, arguments: Sequence[str], plugins: Sequence[object] = ()) -> int:
    """Exit code of pytest."""
    import pytest
    import torch

    os.chdir(copy)
    torch.set_num_threads(1)
    options = [
        "-q",
        "--numprocesses=0",
        "-p",
        "no:cacheprovider",
        "--tb=line",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
        f"--basetemp={copy.parent / 'tmp'}",
    ]
    return int(pytest.main([*options, *arguments], plugins=list(plugins)))


def first_failure(log: Path) -> str:
    """The test that failed first, as pytest told."""
    lines = log.read_text(errors="replace").splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split(" - ")[0].split(" ", 1)[1] if failed else ""
