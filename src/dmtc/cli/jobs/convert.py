"""`job=convert`: label files of annotation tools as folders of images and masks."""

from pathlib import Path
from typing import Literal

from dmtc.cli.jobs.registry import JOBS
from dmtc.config.schema import Config
from dmtc.conversion import Conversion, conversion_summary, convert
from dmtc.core.errors import ConfigError
from dmtc.core.terminal import show
from dmtc.tracking.progress import Progress


@JOBS.register("convert")
def convert_job(
    *,
    config: Config,
    input: str | None,
    output: str | None,
    format: str | None,
    images: str | None,
    rest: Literal["background", "ignore"],
    empty: Literal["unlabelled", "background"],
    damaged: Literal["refuse", "leave_out"],
    existing: Literal["refuse", "replace"],
) -> None:
    """Convert an export of an annotation tool, and print what was converted and what was left out."""
    if not input or not output:
        raise ConfigError("job=convert needs input= (a folder, a zip archive or a label file) and output=DIR")
    if rest == "ignore" and empty == "background":
        raise ConfigError("job.empty=background needs job.rest=background: there is no background to fill images with")
    conversion = Conversion(
        input=Path(input).expanduser(),
        output=Path(output).expanduser(),
        format=format,
        images=None if images is None else Path(images).expanduser(),
        rest=rest,
        empty=empty,
        damaged=damaged,
        existing=existing,
    )
    progress = Progress([], config["run"]["progress"])
    try:
        converted = convert(conversion, progress)
    finally:
        progress.close()
    show(conversion_summary(converted, conversion.output))
