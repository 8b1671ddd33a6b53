"""A run as its folder holds it: config, results, plan, and the trained networks."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch

from dmtc.core.errors import ConfigError, DataError
from dmtc.data import Dataset
from dmtc.data.task import Task
from dmtc.engine.components import Components
from dmtc.machine.settings import pick_device
from dmtc.models import SegmentationModel
from dmtc.prediction import PredictsArrays
from dmtc.run.folder import RunFolder
from dmtc.run.origin import load_network
from dmtc.schedule import Phase
from dmtc.splits import Split
from dmtc.tracking import read_records


class StoredRun(PredictsArrays):
    """What is read of a run's folder. Users see `dmtc.Run`.

    Args:
        folder: The run's folder.
        components: Its components; by default they are read from the folder.
    """

    def __init__(self, folder: RunFolder, components: Components | None = None) -> None:
        self.folder = folder
        if components is None:
            components = Components.of(folder)
        self._components = components
        self._models: dict[tuple[str, str], SegmentationModel] = {}
        self._device = "cpu"

    @classmethod
    def load(cls, folder: str | Path, places: Mapping[str, Any] | None = None) -> Self:
        """Read a run from its folder.

        Args:
            folder: The run's folder.
            places: Where its data is now, by dotted key, such as `{"dataset.root": "/mnt/data"}`. Data that differs
                from what the run began with raises an error on first use.

        Raises:
            ConfigError: A key in `places` is not a place.
            DataError: There is no such folder, or it is not a run folder.
        """
        run_folder = RunFolder.existing(folder)
        return cls(run_folder, Components.of(run_folder, places=places))

    @property
    def components(self) -> Components:
        """The run's components."""
        return self._components

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config."""
        return self._components.config

    @property
    def results(self) -> dict[str, Any]:
        """The content of results.json.

        Raises:
            DataError: The run is not finished.
        """
        results = self.folder.read_results()
        if results is None:
            raise DataError(f"the run {self.folder.path} is not finished; resume with: {self.folder.resume_command}")
        return results

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The logged records in order: `phase`, `network`, `step`, and the values at that step."""
        return read_records(self.folder.metrics_path)

    @cached_property
    def plan(self) -> list[Phase]:
        """The phases in order."""
        return self.folder.read_plan()

    @property
    def split(self) -> Split:
        """Which images are labelled."""
        return self._components.split

    @property
    def dataset(self) -> Dataset:
        """The data set."""
        return self._components.dataset

    @property
    def task(self) -> Task:
        """Classes and colors; known even if the data set is missing."""
        return self._components.task

    @property
    def networks(self) -> list[str]:
        """Letters of the networks."""
        return sorted({phase.trainee for phase in self.plan})

    def model(self, network: str = "a", phase: str | None = None, which: str = "last") -> SegmentationModel:
        """A trained network in evaluation mode: uint8 (B, 3, H, W) or float in [0, 1] -> (B, C, H, W).

        It is on the CPU, or where `to` has moved the networks.

        Args:
            network: Letter of the network.
            phase: Take the weights after this phase; by default the network's last.
            which: "last" or "best" weights of the phase.

        Raises:
            ConfigError: There is no such network or phase.
            WeightsError: The weights are missing, because the run stopped earlier.
        """
        phases = [p.name for p in self.plan if p.trainee == network]
        if not phases:
            raise ConfigError(f"no network {network!r} in this run; it has {', '.join(self.networks)}")
        name = phases[-1] if phase is None else phase
        if name not in phases:
            raise ConfigError(f"network {network} has no phase {name!r}; it has {', '.join(phases)}")
        key = (name, which)
        if key not in self._models:
            model = self._components.model(network)
            load_network(self.folder, model, name, which)
            self._models[key] = model.to(self._device).eval()
        return self._models[key]

    def to(self, device: str | torch.device) -> Self:
        """Use the networks on a device from now on, in `predict`, `model`, `student` and `evaluate`.

        Args:
            device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the fastest of them.

        Returns:
            The run itself: `run.to("cuda").predict(images)`.

        Raises:
            ConfigError: The machine has no such device.
        """
        self._device = str(pick_device(str(device), self._components.processes))
        for model in self._models.values():
            model.to(self._device)
        return self
