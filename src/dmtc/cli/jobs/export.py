"""`job=export`: the networks of a run as a self-contained file."""

from pathlib import Path

from dmtc.api.runs import Run
from dmtc.cli.jobs.common import run_of
from dmtc.cli.jobs.registry import JOBS
from dmtc.config.schema import Config
from dmtc.core.terminal import show
from dmtc.export import ExportOptions, export_run


@JOBS.register("export")
def export_job(
    *,
    config: Config,
    format: str | None,
    output: str | None,
    networks: str | None,
    checkpoint: str,
    probabilities: bool,
    size: list[int] | None,
    opset: int,
    license: str | None,
    push: str | None,
    private: bool,
) -> None:
    """Export the networks of a run as a self-contained file, compare its outputs with theirs, and describe it."""
    run = Run.load(run_of(config, "export format=onnx"))
    options = ExportOptions(
        networks=networks,
        checkpoint=checkpoint,
        probabilities=probabilities,
        size=size,
        opset=opset,
        license=license,
    )
    exported = export_run(run, format, None if output is None else Path(output), options, push=push, private=private)
    show(exported.text())
