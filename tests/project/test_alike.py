"""The comparison that resume, launchers, processes and loggers are held to can fail: it sees a single bit."""

import json
import shutil
from pathlib import Path

import pytest

from alike import what_came_of


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    return shutil.copytree(finished.folder.path, tmp_path / "copy")


def test_a_copy_is_alike(finished, copy):
    came = what_came_of(copy)
    assert came == what_came_of(finished.folder.path) | {"left over": []}
    kinds = [Path(name).suffix for name in came["files"]]
    # Six phases keep two networks each; four teachers label the unlabelled images and keep a histogram each.
    assert kinds.count(".safetensors") == 12
    assert kinds.count(".zst") == 4 * 21
    assert kinds.count(".npy") == 4


def changed(value):
    """A value of JSON that is another one, by as little as can be."""
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else [value]


@pytest.mark.parametrize(
    "file", ["phases/r1-b/last", "phases/r0-a/best", "pseudo_labels/r0-b/*.zst", "pseudo_labels/r1-a/hist"]
)
def test_one_bit_is_seen(finished, copy, file):
    path = sorted(copy.glob(file if "*" in file else f"{file}*"))[-1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert what_came_of(copy)["files"] != what_came_of(finished.folder.path)["files"]


@pytest.mark.parametrize("key", ["miou", "per_class_iou", "phases", "split", "seed"])
def test_one_number_of_the_results_is_seen(finished, copy, key):
    path = copy / "results.json"
    results = json.loads(path.read_text())
    results[key] = changed(results[key])
    if key == "phases":
        results[key] = results[key][0]
        results[key][2]["miou_last"] += 1e-9
    path.write_text(json.dumps(results))
    assert what_came_of(copy)["results"] != what_came_of(finished.folder.path)["results"]


def test_one_logged_number_is_seen(finished, copy):
    path = copy / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    record = json.loads(lines[-1])
    key = next(key for key, value in record.items() if isinstance(value, float) and not key.endswith("_s"))
    lines[-1] = json.dumps(record | {key: record[key] * (1 + 1e-12)}) + "\n"
    path.write_text("".join(lines))
    assert what_came_of(copy)["metrics"] != what_came_of(finished.folder.path)["metrics"]


@pytest.mark.parametrize(
    "gone",
    [
        "pseudo_labels/r0-a/*.zst",
        "pseudo_labels/r0-a/train_0000[0-9]*.zst",
        "pseudo_labels/r0-b",
        "phases/r2-a/best*",
        "metrics.jsonl",
    ],
)
def test_what_is_missing_is_no_likeness(copy, gone):
    for path in copy.glob(gone):
        shutil.rmtree(path) if path.is_dir() else path.write_bytes(b"") if path.suffix == ".jsonl" else path.unlink()
    with pytest.raises((AssertionError, FileNotFoundError)):
        what_came_of(copy)
