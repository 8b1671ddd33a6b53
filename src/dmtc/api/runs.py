"""Reads runs from their folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dmtc.api.evaluating import evaluate_run
from dmtc.api.labelled_run import LabelledRun
from dmtc.api.plotting import Plots, run_html
from dmtc.engine.looking import LookedAt, look
from dmtc.evaluation import Scores
from dmtc.export import Exported, ExportOptions, export_run
from dmtc.report import write_run_report
from dmtc.report.runs.phase_rows import phase_rows
from dmtc.report.runs.run_data import RunFacts, read_run

_OPSET = ExportOptions().opset


class Run(LabelledRun):
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

    @property
    def plot(self) -> Plots:
        """Figures for notebooks, such as `run.plot.curves()`; see `dmtc.api.plotting.Plots`."""
        return Plots(self)

    def _repr_html_(self) -> str:
        """What a notebook shows of a run: its phases as a table, and its curves."""
        return run_html(self)

    def look(self, phase: str, step: int | None = None) -> LookedAt:
        """A training step of a phase: its images, views and labels, seen with the phase's last weights.

        The views are those of the step itself; labels given within the step are those of the last weights.

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
