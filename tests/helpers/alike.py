"""What two runs of the same config must have in common to the last bit."""

import json
from collections.abc import Iterator
from pathlib import Path

from dmtc.run.folder import RunFolder

_VOLATILE_METRICS = ("images_per_s", "memory_bytes")
_VOLATILE = ("seconds", "cpu_seconds", "train_images_per_s", "label_images_per_s", "peak_memory_bytes")


def timeless(results: dict) -> dict:
    """Results without what differs from run to run by nature."""
    assert results["phases"], "a run without phases is equal to every other"
    phases = [{key: value for key, value in phase.items() if key not in _VOLATILE} for phase in results["phases"]]
    kept = {
        key: value for key, value in results.items() if key not in ("seconds", "cpu_seconds", "environment", "commit")
    }
    return kept | {"phases": phases}


def what_came_of(folder: Path) -> dict:
    """Everything in a run folder that does not depend on time: results, logged values, bytes of weights and labels."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert lines, "nothing was logged"
    return {
        "results": timeless(json.loads((folder / "results.json").read_text())),
        "metrics": [{key: value for key, value in line.items() if key not in _VOLATILE_METRICS} for line in lines],
        "files": {str(path.relative_to(folder)): path.read_bytes() for path in _networks_and_labels(RunFolder(folder))},
        "left over": sorted(str(path) for pattern in ("checkpoint*", ".*.part") for path in folder.rglob(pattern)),
    }


def _networks_and_labels(run: RunFolder) -> Iterator[Path]:
    """Both networks of every phase, and all predictions of every teacher: none may be missing."""
    plan = run.read_plan()
    for phase in plan:
        for which in ("last", "best"):
            yield run.weights_path(phase.name, which)
    for teacher in sorted({phase.label_from for phase in plan if phase.label_from is not None}):
        store = run.store(teacher)
        labels = store.files()
        assert labels, f"no pseudo-labels of {teacher}"
        assert len(labels) == store.facts()["images"]
        yield from (*labels, store.folder / "histogram.npy")
