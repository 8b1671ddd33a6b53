"""A run that is stopped between two phases and gone on with, in this process."""

from pathlib import Path

import pytest
from omegaconf import DictConfig

import dmtc
from dmtc.engine.runner import Runner


def stopped_and_resumed(config: DictConfig, folder: Path, before: str) -> "dmtc.Run":
    """Train, stop before a phase begins, and resume."""
    real = Runner._train

    def stopping(self, phases, processes):
        if phases[0].name == before:
            raise KeyboardInterrupt
        return real(self, phases, processes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, "_train", stopping)
        with pytest.raises(KeyboardInterrupt):
            dmtc.train(config, folder)
    return dmtc.resume(folder)
