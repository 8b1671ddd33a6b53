"""`job=next`: the unlabelled images of a run that are worth labelling next."""

from pathlib import Path

from dmtc.cli.jobs.common import components_of_run, run_of
from dmtc.cli.jobs.registry import JOBS
from dmtc.config.schema import Config
from dmtc.core.terminal import show
from dmtc.report import write_next


@JOBS.register("next")
def next_job(*, config: Config, count: int, networks: str | None, checkpoint: str, output: str | None) -> None:
    """Pick images, print them as a table, and write the table and a page of pictures."""
    components, folder = components_of_run(run_of(config, "next count=20"), config)
    target = folder.path / "next" if output is None else Path(output)
    text = write_next(
        components,
        folder,
        target,
        count=count,
        networks=networks,
        checkpoint=checkpoint,
        evaluation=config.get("evaluation") or components.config["evaluation"],
    )
    show(text)
    show(f"\nwritten to {target / 'next.html'}, next.csv and next.json")
