"""Killed at random moments, again and again: whatever comes of it is what would have come of it undisturbed."""

import hashlib
import json
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from alike import what_came_of
from forked_runs import Forks
from short_runs import FOUR_STEPS

pytestmark = pytest.mark.slow
QUIET = ["run.progress=off"]
SENTINELS = ["notes.txt", ".git/HEAD", ".film.mkv.part", "deep/thesis.json"]
"""Files of somebody else in every folder that is written to."""


@pytest.fixture(scope="module")
def forks():
    process = Forks()
    yield process
    process.close()


@pytest.fixture(scope="module")
def short(small) -> list[str]:
    """Four phases of four steps with a checkpoint after each: about a second."""
    return [
        *small,
        *FOUR_STEPS,
        "run.checkpoint_minutes=0",
        "logger=csv",
    ]


@pytest.fixture(scope="module")
def run(forks, short, tmp_path_factory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("kills")
    ((code, text),) = forks.run([{"arguments": [*short, "hydra.run.dir=run"]}], folder)
    assert code == 0, text
    return folder / "run"


def put_sentinels(folder: Path) -> None:
    for name in SENTINELS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"mine: {name}")


def assert_untouched(folder: Path) -> None:
    for name in SENTINELS:
        assert (folder / name).read_text() == f"mine: {name}", folder / name


def contents(folder: Path) -> dict[str, bytes]:
    """What lies in a folder under final names, and is not somebody else's."""
    paths = [path for path in folder.rglob("*") if path.is_file() and ".part" not in str(path.relative_to(folder))]
    return {
        name: re.sub(rb"\d\d:\d\d", b"", content) if path.suffix == ".html" else content  # the time it was made
        for path in paths
        for content in [path.read_bytes()]
        if (name := str(path.relative_to(folder))) not in SENTINELS and path.name != ".lock"
    }


def killed_again_and_again(
    forks: Forks, folder: Path, arguments: Callable[[], list[str]], kills: int, chance: random.Random, seconds: float
) -> int:
    """Start a command that may take so many seconds, and kill it, as often; how often it was killed indeed."""
    killed = 0
    for _ in range(4 * kills):
        job = {"arguments": arguments(), "seconds": 0.02 + chance.random() ** 2 * seconds}
        ((code, text),) = forks.run([job], folder)
        assert code in (0, -signal.SIGKILL), text
        killed += code == -signal.SIGKILL
        if killed == kills:
            break
    return killed


@pytest.mark.parametrize("number", range(10))
def test_ten_kills_of_a_run(forks, short, run, tmp_path, number):
    """Ten runs, so a hundred kills; other numbers of loader processes each time, and somebody else's files beside."""
    chance = random.Random(number)
    folder = tmp_path / "run"

    def session() -> list[str]:
        workers = f"run.workers={chance.choice([0, 0, 1, 2])}"
        if (folder / "config.yaml").is_file():
            return [f"resume={folder}", workers]
        return [*short, workers, f"hydra.run.dir={folder}"]

    # The first ones begin it; sentinels come as soon as it is a run's folder.
    killed = killed_again_and_again(forks, tmp_path, session, 1, chance, 1.0)
    if (folder / "config.yaml").is_file():
        put_sentinels(folder)
    killed += killed_again_and_again(forks, tmp_path, session, 10 - killed, chance, 1.0)
    assert killed == 10
    ((code, text),) = forks.run([{"arguments": session()}], tmp_path)
    assert code == 0, text
    if (folder / "notes.txt").is_file():
        assert_untouched(folder)
        for name in SENTINELS:
            (folder / name).unlink()
    assert what_came_of(folder) == what_came_of(run)
    assert (folder / "metrics.csv").read_bytes().count(b"\n") == (run / "metrics.csv").read_bytes().count(b"\n")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Twelve pictures of three sizes and two videos of eight frames."""
    folder = tmp_path_factory.mktemp("pictures") / "in"
    generator = np.random.default_rng(0)
    folder.mkdir()
    for number in range(12):
        size = [(48, 64), (64, 48), (40, 40)][number % 3]
        cv2.imwrite(str(folder / f"p{number:02}.png"), generator.integers(0, 256, (*size, 3), np.uint8))
    for name in ("clip.mp4", "second.mp4"):
        video = cv2.VideoWriter(str(folder / name), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
        for _ in range(8):
            video.write(generator.integers(0, 256, (48, 64, 3), np.uint8))
        video.release()
    put_sentinels(folder)
    return folder


COMMANDS = {
    "predict": ["job=predict", "run=run", "input={pictures}", "output=out", "job.write=[index,overlay,confidence]"],
    "report run": ["job=report", "run=run"],
    "report runs": ["job=report", "runs=.", "job.out=out"],
    "export safetensors": ["job=export", "run=run", "format=safetensors", "output=out"],
    "export torchscript": ["job=export", "run=run", "format=torchscript", "output=out"],
    "export torch_export": ["job=export", "run=run", "format=torch_export", "output=out"],
    "export onnx": ["job=export", "run=run", "format=onnx", "output=out"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_ten_kills_of_a_command_and_the_next_one_completes(forks, run, pictures, tmp_path, name):
    if name.endswith("onnx"):
        pytest.importorskip("onnxscript")
    command = [argument.format(pictures=pictures) for argument in COMMANDS[name]] + QUIET
    output = "run" if name == "report run" else "out"
    places = [tmp_path / place for place in ("first", "second", "killed")]
    for place in places:
        shutil.copytree(run, place / "run")
        put_sentinels(place / "run")
    before, read = contents(pictures), contents(run)
    seconds = 0.0
    for place in places[:2]:
        begun = time.monotonic()
        ((code, text),) = forks.run([{"arguments": command}], place)
        assert code == 0, text
        seconds = time.monotonic() - begun
    first, second = (contents(place / output) for place in places[:2])
    assert len(first) >= 2
    lasting = [file for file in first if first[file] == second.get(file)]  # others tell of times
    assert len(lasting) >= len(first) - 3, sorted(set(first) - set(lasting))

    place, chance = places[2], random.Random(name)
    taken = "export" not in name  # which begins in no folder with files of somebody else
    if taken:
        put_sentinels(place / output)
    more = ["job.existing=skip"] if name == "predict" else []
    for _ in range(10):
        assert killed_again_and_again(forks, place, lambda: [*command, *more], 1, chance, seconds) == 1
        found = contents(place / output)
        for file in lasting:
            if not file.startswith(".dmtc"):  # grows while the command goes on
                assert file not in found or found[file] == first[file], f"{file} is half there"
        for file in found:
            if file.endswith(".json"):
                json.loads(found[file])
        for folder in [place / output] * taken + [place / "run"]:
            assert_untouched(folder)
    ((code, text),) = forks.run([{"arguments": [*command, *more]}], place)
    assert code == 0, text
    after = contents(place / output)
    assert {file: hashlib.sha256(after[file]).hexdigest() for file in lasting} == {
        file: hashlib.sha256(first[file]).hexdigest() for file in lasting
    }
    assert set(after) == set(first)
    left = [path for path in place.rglob("*.part") if path.name not in SENTINELS]
    assert left == [], "what was half-written is tidied up"
    assert contents(pictures) == before
    if output != "run":
        assert {file: contents(place / "run")[file] for file in read} == read
