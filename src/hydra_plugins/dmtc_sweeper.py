"""Hydra's basic sweeper, mended in three places; any launcher may carry its jobs out.

A sweep of which one value is wrong runs all the others; Hydra's own refuses the whole sweep when one job does not
compose. And a job's folder is named after the values that are swept, all of them and no others, so that no two jobs
share one. And jobs that run in processes of their own save before Ctrl-C or SIGTERM ends them.
"""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException


class DmtcSweeper(BasicSweeper):
    """See above."""

    def __init__(self, max_batch_size: int | None, params: Any = None) -> None:
        super().__init__(max_batch_size, params)
        self._refused = 0

    def validate_batch_is_legal(self, batch: list[Sequence[str]]) -> None:  # pyright: ignore
        """Take jobs that do not compose out of the batch, each with one line about why."""
        from dmtc.errors import ConfigError
        from dmtc.hydra_errors import one_line

        for overrides in list(batch):
            try:
                super().validate_batch_is_legal([overrides])
            except (HydraException, OmegaConfBaseException) as error:
                print(f"not started: {' '.join(overrides)}: {one_line(error)}", file=sys.stderr)
                batch.remove(overrides)
                self._refused += 1
        if not batch:
            raise ConfigError("no job of the sweep could be started; see above")

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep; a `ConfigError` at its end counts the jobs that were left out."""
        from dmtc.errors import ConfigError

        assert self.config is not None
        parsed = OverridesParser.create().parse_overrides(arguments)
        swept = {override.get_key_element() for override in parsed if override.is_sweep_override()}
        shared = {override.get_key_element() for override in parsed} - swept
        key = "hydra.job.config.override_dirname.exclude_keys"
        left_out = [name for name in OmegaConf.select(self.config, key) if name not in swept]
        excluded = ",".join(f"'{name}'" for name in [*left_out, *sorted(shared)])
        with read_write(self.config):
            self.config.hydra.overrides.hydra.append(f"{key}=[{excluded}]")
        with _jobs_stop_first():
            returned = super().sweep(arguments)
        if self._refused:
            raise ConfigError(f"{self._refused} jobs of the sweep could not be started; see above")
        return returned


@contextmanager
def _jobs_stop_first() -> Iterator[None]:
    """Pass a request to stop on to the processes of the jobs, and wait for what they do; a second one stops at once."""
    from dmtc.interruption import handled_by

    asked: list[int] = []

    def pass_on(signum: int, frame: Any) -> None:
        from multiprocessing import active_children

        children = active_children()
        if asked or not children:
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        asked.append(signum)
        for child in children:
            # Ctrl-C has reached them already, and this is nothing new to them; a signal to this process alone has not.
            os.kill(child.pid or 0, signal.SIGTERM)

    with handled_by(pass_on):
        yield


@dataclass
class _SweeperConfig:
    _target_: str = "hydra_plugins.dmtc_sweeper.DmtcSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="dmtc", node=_SweeperConfig, provider="dmtc")
