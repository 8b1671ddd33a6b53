"""What a run is, in five lines at its beginning: method and plan, data, networks, machine and folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmtc.config.methods import method_title
from dmtc.engine.components import Components
from dmtc.models import network_title


def opening_lines(components: Components, folder: Path, environment: Mapping[str, Any]) -> list[str]:
    """The lines that a run says first.

    Args:
        components: The run's components.
        folder: The run's folder.
        environment: See `dmtc.machine.environment.describe_environment`.
    """
    plan, config = components.plan, components.config
    phases = f"{len(plan)} phase{'' if len(plan) == 1 else 's'}, {sum(phase.steps for phase in plan)} steps"
    return [
        f"method:   {method_title(config)}, seed {config['seed']}: {phases}",
        f"data:     {_data(components)}",
        f"networks: {_networks(components)}",
        f"machine:  {_machine(components, environment)}",
        f"folder:   {folder}",
    ]


def _data(components: Components) -> str:
    split, dataset = components.split, components.dataset
    counts = {
        "labelled": len(split.labelled),
        "unlabelled": len(split.unlabelled),
        "validation": len(dataset.val),
        "test": len(dataset.test),
    }
    images = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
    return f"{dataset.name}, {len(dataset.classes)} classes; {images} images; split {split.name} {split.ratio}"


def _networks(components: Components) -> str:
    """Equal networks are named together."""
    letters: dict[str, list[str]] = {}
    for letter in components.networks:
        spec = components.model_spec(letter)
        tuning = (spec.get("tuning") or {}).get("name", "full")
        how = "" if tuning == "full" else f", {tuning}"
        letters.setdefault(f"{network_title(spec)}{how}", []).append(letter)
    return "; ".join(f"{' and '.join(same)}: {text}" for text, same in letters.items())


def _machine(components: Components, environment: Mapping[str, Any]) -> str:
    processor, threads, processes = (environment[key] for key in ("processor", "threads", "processes"))
    device = components.device
    what = f"{device}, {processor}" if device.type == "cpu" else str(environment.get("device") or device)
    several = "" if processes == 1 else f", {processes} processes"
    precision = str(components.precision).removeprefix("torch.")
    return f"{what}, {threads} thread{'' if threads == 1 else 's'}{several}, {precision}"
