"""`job=predict`: masks for images and videos."""

from pathlib import Path

from dmtc.cli.jobs.common import components_of_run, given_only, run_of
from dmtc.cli.jobs.registry import JOBS
from dmtc.config.schema import Config
from dmtc.core.errors import ConfigError, DataError
from dmtc.core.terminal import show
from dmtc.prediction import Outputs, PredictionOptions, predict_run, prediction_summary
from dmtc.prediction.outputs import Existing


@JOBS.register("predict")
def predict_job(
    *,
    config: Config,
    input: str | list[str] | None,
    output: str | None,
    networks: str | None,
    checkpoint: str,
    flip: bool | None,
    scales: list[float] | None,
    resize: float | None,
    write: list[str],
    opacity: float,
    layout: str | None,
    upright: bool,
    existing: Existing,
) -> None:
    """Predict images and videos, and write masks and any other requested files.

    Raises:
        DataError: Some files could not be read. All others are done.
    """
    run = run_of(config, "predict input=FOLDER output=DIR")
    if not input or not output:
        raise ConfigError("job=predict needs input= (a file, a folder, a pattern or a video) and output=DIR")
    components, folder = components_of_run(run, config)
    inputs = [input] if isinstance(input, str) else input
    outputs = Outputs(
        folder=Path(output), task=components.task, kinds=write, opacity=opacity, layout=layout, existing=existing
    )
    evaluation = (config.get("evaluation") or components.config["evaluation"]) | given_only(flip=flip, scales=scales)
    options = PredictionOptions(
        networks=networks, checkpoint=checkpoint, evaluation=evaluation, resize=resize, upright=upright
    )
    done = predict_run(components, folder, inputs, outputs, options)
    if components.processes.is_first:
        show(prediction_summary(done, outputs.folder))
    if done.skipped:
        raise DataError(
            f"{len(done.skipped)} of {len(done.skipped) + done.images + done.videos} files could not be read; see above"
        )
