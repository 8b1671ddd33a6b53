"""`job=check`: what is wrong or odd in the data, and which settings suit it."""

from collections.abc import Sequence

from dmtc.checking import advise, check_data, summary
from dmtc.cli.jobs.common import components_to_look_at
from dmtc.cli.jobs.registry import JOBS
from dmtc.config.schema import Config
from dmtc.core.errors import DataError
from dmtc.core.terminal import show


@JOBS.register("check")
def check_job(*, config: Config, shown: int, advice: bool, given: Sequence[str] = ()) -> None:
    """Read every image and mask and print whatever is wrong or odd, plus advice on settings; write nothing.

    Raises:
        DataError: Some fault would stop training.
    """
    components = components_to_look_at(config, given)
    check = check_data(components)
    show(summary(check, shown), end="")
    if advice and (suggested := advise(components, check)) is not None:
        show(f"\n{suggested}", end="")
    if check.errors:
        count = len(check.errors)
        raise DataError(f"{count} {'error' if count == 1 else 'errors'} would stop training; see the list above")
