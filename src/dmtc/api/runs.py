"""Reads runs from their folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dmtc.api.evaluating import evaluate_run
from dmtc.api.pseudo_labels import PhasePseudoLabels
from dmtc.api.stored_run import StoredRun
from dmtc.core.errors import ConfigError, DataError
from dmtc.engine.components import Components
from dmtc.engine.looking import LookedAt, look
from dmtc.evaluation import Scores
from dmtc.evaluation.disagreement import Disagreement, disagreement_of
from dmtc.evaluation.quality import PseudoLabelQuality, hold_against_truth
from dmtc.export import Exported, ExportOptions, export_run
from dmtc.losses.terms import terms_of_stage
from dmtc.pseudo import PseudoLabel, PseudoLabelStore
from dmtc.report import write_run_report
from dmtc.report.runs.phase_rows import phase_rows
from dmtc.report.runs.run_data import RunFacts, read_run
from dmtc.run.folder import RunFolder
from dmtc.run.ranking import images_of
from dmtc.schedule import Phase

_OPSET = ExportOptions().opset


class Run(StoredRun):
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
        super().__init__(folder, components)
        self._intact: set[Path] = set()

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

    def evaluate(
        self,
        evaluation: str | Mapping[str, Any] | None = None,
        part: str = "auto",
        data: Sequence[str] = (),
        checkpoint: str = "last",
    ) -> dict[str, Scores]:
        """Score the networks and their ensemble, as `job=evaluate` does; nothing is written.

        Args:
            evaluation: Name of a protocol, or a mapping with such a `name` and changes, such as `{"name": "sliding",
                "flip": True}`; by default the run's own protocol.
            part: "val", "test" or "all" images with masks; "auto" takes the first of these that there is.
            data: Options of another data set, such as `["dataset=folder", "dataset.root=DIR"]`.
            checkpoint: "last" or "best" weights.

        Returns:
            `Scores` (`.miou`, `.iou`, `.overall`) by network, then of the "ensemble" if there are several networks.

        Raises:
            ConfigError: There is no such protocol, part or checkpoint.
            DataError: The part has no images, or the classes differ from the run's.
            WeightsError: Weights are missing because the run stopped early.
        """
        machine = self.config["run"] | {"device": self._device, "progress": "off"}
        return evaluate_run(self.folder, machine, evaluation, part, data, checkpoint)

    def export(
        self,
        format: str = "safetensors",
        output: str | Path | None = None,
        *,
        networks: str | None = None,
        checkpoint: str = "last",
        probabilities: bool = False,
        size: Sequence[int] | None = None,
        opset: int = _OPSET,
        license: str | None = None,
    ) -> Exported:
        """Export networks to a file that works without the run, as `job=export` does.

        Args:
            format: "safetensors", "torch_export", "torchscript", "onnx" or another of `dmtc.export.FORMATS`.
            output: The folder; by default `export/<format>` in the run's folder.
            networks: Letters of the networks; None for all.
            checkpoint: "last" or "best" weights.
            probabilities: Also output the probability of every class.
            size: Height and width of the images, if the file takes only one size; None for any size.
            opset: ONNX operator set version.
            license: License of the weights as an SPDX identifier.

        Returns:
            Its `path`, and how much it differs from the networks; `text()` is a summary.

        Raises:
            ConfigError: See `dmtc.export.export_run`.
            WeightsError: Weights are missing because the run stopped early.
        """
        options = ExportOptions(
            networks=networks,
            checkpoint=checkpoint,
            probabilities=probabilities,
            size=size,
            opset=opset,
            license=license,
        )
        return export_run(self, format, None if output is None else Path(output), options)

    @property
    def facts(self) -> RunFacts:
        """What is known of the run's phases so far, as reports read it."""
        return read_run(self._components, self.folder)

    def table(self) -> list[dict[str, Any]]:
        """One row per phase of the plan, done or not, for example for `pandas.DataFrame(run.table())`.

        Examples:
            >>> import dmtc
            >>> rows = dmtc.Run.load("outputs/first").table()
            >>> [row["phase"] for row in rows], rows[2]["teacher"], rows[2]["label_ratio"]
            (['r0-a', 'r0-b', 'r1-a', 'r1-b'], 'r0-b', 0.5)
        """
        return phase_rows(self.facts)

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
