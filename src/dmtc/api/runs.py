"""Reads runs from their folders."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from dmtc.core.command import command
from dmtc.core.errors import ConfigError, DataError
from dmtc.core.types import Float32Array
from dmtc.data import Dataset
from dmtc.data.task import Task
from dmtc.engine.components import Components
from dmtc.engine.looking import LookedAt, look
from dmtc.evaluation.disagreement import Disagreement, disagreement_of
from dmtc.evaluation.quality import PseudoLabelQuality, hold_against_truth
from dmtc.losses.terms import terms_of_stage
from dmtc.models import SegmentationModel
from dmtc.prediction import PredictsArrays
from dmtc.pseudo import PseudoLabel, PseudoLabels, PseudoLabelStore
from dmtc.report import write_run_report
from dmtc.run.folder import RunFolder
from dmtc.run.origin import load_network
from dmtc.run.ranking import images_of
from dmtc.schedule import Phase
from dmtc.splits import Split
from dmtc.tracking import read_records


class PhasePseudoLabels(Sequence[PseudoLabel]):
    """The pseudo-labels a phase learns from, one entry per unlabelled image."""

    def __init__(self, dataset: Dataset, ids: Sequence[str], labels: PseudoLabels) -> None:
        self.dataset = dataset
        self.ids = ids
        self.labels = labels

    @property
    def thresholds(self) -> Float32Array:
        """Minimum confidence at which each class is kept: float32 (C,), 0 for a class kept entirely."""
        return self.labels.confidences

    def __len__(self) -> int:
        """Number of unlabelled images."""
        return len(self.ids)

    def __getitem__(self, index: int) -> PseudoLabel:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The image, its pseudo-label (255: not kept), its confidence, and the truth if known."""
        return self.of(self.ids[index])

    def of(self, id: str) -> PseudoLabel:
        """Like indexing, but by the image's id."""
        label, confidence = self.labels.read(id)
        truth = self.dataset.mask(id) if id in self.dataset.masks else None
        return PseudoLabel(id, self.dataset.image(id), label, confidence, truth)


class Run(PredictsArrays):
    """A finished or stopped run. It predicts like any `PredictsArrays`, with the last weights of its networks.

    Args:
        folder: The run's folder.
        components: Its components; by default they are read from the folder.

    Examples:
        >>> import dmtc
        >>> run = dmtc.Run.load("outputs/first")
        >>> [phase.name for phase in run.plan]
        ['r0-a', 'r0-b', 'r1-a', 'r1-b']
        >>> sorted(run.results["miou"]["a"])
        ['best', 'last']
        >>> pseudo = run.pseudo_labels("r1-a")[0]
        >>> pseudo.image.shape, pseudo.label.shape, pseudo.confidence.dtype
        ((96, 96, 3), (96, 96), dtype('float32'))
        >>> run.predict(pseudo.image).shape
        (96, 96)
        >>> import torch
        >>> run.model("b")(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape[-2:]
        torch.Size([64, 64])
    """

    def __init__(self, folder: RunFolder, components: Components | None = None) -> None:
        self.folder = folder
        if components is None:
            components = Components.of(folder)
        self._components = components
        self._models: dict[tuple[str, str], SegmentationModel] = {}
        self._intact: set[Path] = set()

    @classmethod
    def load(cls, folder: str | Path, places: Mapping[str, Any] | None = None) -> "Run":
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
            raise DataError(f"the run {self.folder.path} is not finished; go on with: {self.folder.resume_command}")
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

    def pseudo_labels(self, phase: str, label_ratio: float | None = None) -> PhasePseudoLabels:
        """The pseudo-labels a phase learned from.

        Args:
            phase: For example "r1-a".
            label_ratio: Share of every class to keep, in (0, 1]; by default the phase's own.

        Raises:
            ConfigError: There is no such phase, or it learns from no pseudo-labels.
            DataError: The pseudo-labels do not exist yet, or are damaged.
        """
        of, store, ratio = self._labelling(phase, label_ratio)
        images = images_of(self.folder, of, self.split.unlabelled)
        return PhasePseudoLabels(self.dataset, images, store.select(ratio))

    def pseudo_label_quality(self, phase: str, label_ratio: float | None = None) -> PseudoLabelQuality:
        """The quality of a phase's pseudo-labels; reads every known mask once.

        Args:
            phase: For example "r1-a".
            label_ratio: Ratio for its `scores` and `images`; by default the phase's own. `.at(...)` evaluates any
                other ratio.

        Raises:
            ConfigError: See `pseudo_labels`.
            DataError: See `pseudo_labels`.
        """
        of, store, ratio = self._labelling(phase, label_ratio)
        return hold_against_truth(store, ratio, images_of(self.folder, of, self.split.unlabelled), self.dataset)

    def student(self, phase: str, pseudo: PseudoLabel, trained: bool = False) -> Disagreement:
        """How a phase's student predicts a pseudo-labelled image.

        Args:
            phase: For example "r1-a".
            pseudo: From `pseudo_labels` of the phase. Weights apply to its kept pixels; at label ratio 1 that is all
                of them.
            trained: Use the student after the phase instead of before it. A phase that begins anew has no other.

        Raises:
            ConfigError: See `pseudo_labels`.
            WeightsError: The student's weights are missing, because the run stopped earlier.
        """
        of, _, _ = self._labelling(phase)
        model = self.model(of.trainee, of.name if trained or of.init_from is None else of.init_from)
        terms = terms_of_stage(self._components.terms, of.stage)
        device = next(model.parameters()).device
        return disagreement_of(model, terms, pseudo.image, pseudo.label, pseudo.confidence, device)

    def look(self, phase: str, step: int | None = None) -> LookedAt:
        """A training step of a phase: its images, views and labels, seen with the phase's last weights.

        The views are those of the step itself; labels given inside the step are those of the last weights.

        Args:
            phase: For example "r1-a".
            step: Number of the step, from 1; by default the last one of the phase.

        Raises:
            ConfigError: There is no such phase or step.
            DataError: An image or pseudo-label cannot be read.
            WeightsError: The phase is not finished.

        Examples:
            >>> import dmtc
            >>> seen = dmtc.Run.load("outputs/first").look("r1-a", step=3)
            >>> seen.weak.shape, seen.mixed.shape, seen.label.shape, seen.labelled_image.shape
            ((5, 96, 96, 3), (1, 5, 96, 96, 3), (1, 5, 96, 96), (3, 96, 96, 3))
        """
        return look(self._components, self.folder, phase, step)

    def model(self, network: str = "a", phase: str | None = None, which: str = "last") -> SegmentationModel:
        """A trained network on the CPU in evaluation mode: uint8 (B, 3, H, W) or float in [0, 1] -> (B, C, H, W).

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
            self._models[key] = model.eval()
        return self._models[key]

    def report(self) -> Path:
        """Rewrite report.html and its files from what the run has so far; returns its path.

        Raises:
            DataError: No phase is done.
        """
        return write_run_report(self._components, self.folder)

    def _is_intact(self, store: PseudoLabelStore) -> bool:
        """Whether all files of a store are unchanged; checked by reading them once."""
        if store.folder not in self._intact and store.is_complete():
            self._intact.add(store.folder)
        return store.folder in self._intact

    def _labelling(self, phase: str, label_ratio: float | None = None) -> tuple[Phase, PseudoLabelStore, float]:
        """A phase that learns from pseudo-labels, its teacher's predictions, and the label ratio."""
        named = {p.name: p for p in self.plan}
        if phase not in named or named[phase].label_from is None:
            known = ", ".join(p.name for p in self.plan if p.label_from) or "none"
            raise ConfigError(f"no pseudo-labels for phase {phase!r}; phases with pseudo-labels: {known}")
        store = self.folder.store(str(named[phase].label_from))
        if store.is_finished() and not self._is_intact(store):
            raise DataError(f"{store.folder} is damaged: a file is missing, or another than was written; put it back")
        if not store.is_finished():
            raise DataError(f"phase {phase} has no pseudo-labels yet; go on with: {self.folder.resume_command}")
        ratio = label_ratio if label_ratio is not None else named[phase].label_ratio
        assert ratio is not None
        return named[phase], store, ratio


def load_runs(folder: str | Path) -> list[Run]:
    """Every finished run below a folder, such as `outputs/` or a sweep's, in the order they finished.

    Raises:
        DataError: There is no such folder, or no finished run in it.

    Examples:
        >>> import dmtc
        >>> {run.results["dataset"] for run in dmtc.load_runs("outputs")}
        {'synthetic'}
    """
    finished = sorted(Path(folder).rglob("results.json"), key=lambda path: (path.stat().st_mtime_ns, path))
    if not finished:
        raise DataError(f"no finished run below {folder}: no results.json is there; {command()} makes one")
    return [Run.load(path.parent) for path in finished]
