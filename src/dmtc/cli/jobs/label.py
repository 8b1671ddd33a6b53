"""`job=label`: pseudo-labels of a run's networks as masks and polygons."""

from pathlib import Path

from dmtc.cli.jobs.common import components_of_run, given_only, run_of
from dmtc.cli.jobs.registry import JOBS
from dmtc.config.schema import Config
from dmtc.core.command import command
from dmtc.core.errors import ConfigError, DataError
from dmtc.core.terminal import show
from dmtc.prediction import PredictionOptions, prediction_summary
from dmtc.prediction.label_files import Format, Labelled, label_files
from dmtc.prediction.outputs import Existing
from dmtc.report.tables import text_table


@JOBS.register("label")
def label_job(
    *,
    config: Config,
    input: str | list[str] | None,
    output: str | None,
    threshold: float,
    format: Format,
    networks: str | None,
    checkpoint: str,
    flip: bool | None,
    scales: list[float] | None,
    resize: float | None,
    upright: bool,
    existing: Existing,
) -> None:
    """Label images, and print what share of each class is kept.

    Raises:
        DataError: Some files could not be read. All others are done.
    """
    run = run_of(config, "label input=FOLDER output=DIR")
    if not input or not output:
        raise ConfigError("job=label needs input= (a file, a folder or a pattern) and output=DIR")
    components, folder = components_of_run(run, config)
    inputs = [input] if isinstance(input, str) else input
    evaluation = (config.get("evaluation") or components.config["evaluation"]) | given_only(flip=flip, scales=scales)
    options = PredictionOptions(
        networks=networks, checkpoint=checkpoint, evaluation=evaluation, resize=resize, upright=upright
    )
    labelled = label_files(
        components,
        folder,
        inputs,
        Path(output),
        options,
        threshold=threshold,
        format=format,
        existing=existing,
    )
    done = labelled.done
    if components.processes.is_first:
        show(_summary(labelled, inputs, Path(output), threshold))
    if done.skipped:
        raise DataError(f"{len(done.skipped)} of {len(done.skipped) + done.images} files could not be read; see above")


def _summary(labelled: Labelled, inputs: list[str], output: Path, threshold: float) -> str:
    predicted, kept = labelled.counts
    total = max(1, int(predicted.sum()))
    rows = [
        [f"{place} {name}", f"{100 * of / total:.1f}%", f"{100 * left / of:.1f}%" if of else "-"]
        for place, (name, of, left) in enumerate(zip(labelled.classes, predicted, kept, strict=True))
    ]
    rows.append(["all", f"{100 * predicted.sum() / total:.1f}%", f"{100 * kept.sum() / total:.1f}%"])
    lines = [prediction_summary(labelled.done, output)]
    if labelled.done.images:
        lines += ["", text_table(["class", "predicted", f"kept (confidence from {threshold:g})"], rows)]
    if len(inputs) == 1 and Path(inputs[0]).expanduser().is_dir():
        settings = f"dataset.images={inputs[0]} dataset.masks={output / 'masks'} dataset.classes={output}/classes.yaml"
        lines += ["", f"check them: {command(f'job=check experiment=your_data {settings}')}"]
    return "\n".join(lines)
