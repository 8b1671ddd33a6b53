"""Commands on damaged files and with odd options, for as long as an ordinary test run has time; see tests/fuzz.py."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fuzz_damage import damaged

FUZZ = Path(__file__).parents[1] / "fuzz.py"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [20])
def test_some_seconds(seconds):
    """With what is imported and made first. The same tries in the same order: how many depends on the machine."""
    command = [sys.executable, FUZZ, "--seconds", str(seconds), "--seed", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.endswith(": 0 failures of 0 kinds"), done.stdout


@pytest.mark.parametrize("name", ["plan.json", "config.yaml", "list.txt", "p.png", "w.safetensors", "folder"])
def test_damage_is_the_same_for_the_same_number_and_never_outside(tmp_path, name):
    told = []
    for attempt in ("one", "two"):
        place = tmp_path / attempt
        place.mkdir()
        (place / "folder").mkdir()
        (place / "plan.json").write_text('[{"name": "r0-a", "steps": 3}]')
        (place / "config.yaml").write_text("seed: 0\n")
        (place / "list.txt").write_text("p00\np01\n")
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(place / "p.png")
        (place / "w.safetensors").write_bytes(b"weights")
        others = sorted(path for path in place.rglob("*") if path.is_file())
        told.append([])
        for number in range(40):
            path = place / name
            if path.exists() and not path.is_symlink():
                told[-1].append(damaged(path, random.Random(number), others).replace(attempt, ""))
    assert told[0] == told[1]
    assert told[0]
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}
