"""Checks before a run starts or resumes in a folder: everything there must come from this run and its data."""

import os
from collections.abc import Mapping
from typing import Any

import torch

from dmtc.core.errors import ConfigError, DataError
from dmtc.data.record import DataRecord, record_data
from dmtc.engine.components import Components
from dmtc.machine.cores import free_cores, threads_are_chosen
from dmtc.run.changes import refuse_changes
from dmtc.run.folder import RunFolder
from dmtc.run.origin import fingerprint, require_one_run, require_own_settings
from dmtc.run.same_data import require_same_data


def other_device(folder: RunFolder, environment: Mapping[str, Any]) -> list[str]:
    """A line if a run resumes on another kind of device than before."""
    earlier = folder.read_environment().get("device")
    if earlier is None or earlier == environment["device"] or not any(folder.path.glob("phases/*/phase.json")):
        return []
    return [
        f"resuming on {environment['device']} instead of {earlier}: rounding differs, so the results will match "
        "neither device alone"
    ]


def keep_threads(folder: RunFolder, device: torch.device) -> list[str]:
    """Resume on the CPU with as many threads as the run began with, unless someone chose their number.

    Returns:
        A line if the number differs from before, or is changed to what it was.
    """
    before, now = folder.read_environment().get("threads"), torch.get_num_threads()
    if device.type != "cpu" or before in (None, now) or not any(folder.path.glob("phases/*/*")):
        return []
    changed = f"resuming with {_threads(now)} instead of {_threads(before)}: rounding differs"
    if threads_are_chosen(os.environ):
        return [f"{changed}; OMP_NUM_THREADS={before} would keep it"]
    if before > (free := free_cores()):
        return [f"{changed}; there {'is' if free == 1 else 'are'} only {free} core{'' if free == 1 else 's'}"]
    torch.set_num_threads(before)
    return [f"resuming with {_threads(before)}, as before"]


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"


def require_same_run(components: Components, folder: RunFolder) -> DataRecord:
    """Check that a folder's content was made by this run from its current data.

    Returns:
        The record of the data files.

    Raises:
        ConfigError: The folder holds a run, or phases, with other settings.
        DataError: The data or the labelled images have changed, or a file of the run is damaged.
    """
    settings = fingerprint(components.config)
    if folder.config_path.is_file():
        refuse_changes(folder.read_config(), components.config, f"{folder.path} holds a run with other settings")
        if folder.has_settings():
            settings = require_own_settings(folder, components.config)
    if folder.has_plan() and folder.read_plan() != components.plan:
        raise ConfigError(f"{folder.path}: plan.json has other phases than its config.yaml leads to; put it back")
    require_one_run(folder, components.plan, components.split, settings)
    if not folder.has_split():
        return record_data(components.dataset, components.split.labelled)
    require_same_data(folder, components.dataset)
    if folder.read_split() != components.split:
        raise DataError(f"{folder.path} holds a run with other labelled images: choose another folder")
    return folder.read_data()
