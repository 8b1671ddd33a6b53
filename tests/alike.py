"""What two runs of the same config must have in common to the last bit."""

import json
from pathlib import Path

_VOLATILE_METRICS = ("images_per_s", "memory_bytes")
_VOLATILE = ("seconds", "train_images_per_s", "label_images_per_s", "peak_memory_bytes")


def timeless(results: dict) -> dict:
    """Results without what differs from run to run by nature."""
    phases = [{key: value for key, value in phase.items() if key not in _VOLATILE} for phase in results["phases"]]
    kept = {key: value for key, value in results.items() if key not in ("seconds", "environment", "commit")}
    return kept | {"phases": phases}


def what_came_of(folder: Path) -> dict:
    """Everything in a run folder that does not depend on time: results, logged values, bytes of weights and labels."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    files = [*folder.glob("phases/*/*.safetensors"), *folder.glob("pseudo_labels/*/*.png")]
    return {
        "results": timeless(json.loads((folder / "results.json").read_text())),
        "metrics": [{key: value for key, value in line.items() if key not in _VOLATILE_METRICS} for line in lines],
        "files": {str(path.relative_to(folder)): path.read_bytes() for path in files},
        "left over": sorted(str(path) for pattern in ("checkpoint*", ".*.part") for path in folder.rglob(pattern)),
    }
