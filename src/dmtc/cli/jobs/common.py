"""Shared by several jobs: the components of a run that has not started, or of an earlier run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from dmtc.config.schema import Config
from dmtc.core.command import command
from dmtc.core.errors import ConfigError
from dmtc.engine.components import Components
from dmtc.run.folder import RunFolder
from dmtc.run.moved import places_among


def components_to_look_at(config: Config, given: Sequence[str]) -> Components:
    """The components of a run that has not started. Nothing is written, not even the built-in data set's images.

    Raises:
        ConfigError: `dataset.root` names a missing folder, and no data set was chosen.
    """
    root = config["dataset"].get("root")
    is_default = "dataset.root" in given and not {"dataset", "experiment"} & set(given)
    if root is not None and is_default and not Path(root).expanduser().exists():
        raise ConfigError(
            f"there is no folder {root}; for your own images, use experiment=your_data dataset.root=DIR (or"
            " dataset=folder): otherwise dataset.root is where the built-in data set keeps its images"
        )
    return Components(config, keeps=False)


def run_of(config: Config, usage: str) -> str:
    """The folder of the run a job works on."""
    if config["run_dir"] is None:
        name = usage.partition(" ")[0]
        raise ConfigError(
            f"job={name} needs the run's folder: {command(f'job={name} run=RUN_DIR{usage.removeprefix(name)}')}"
        )
    return config["run_dir"]


def given_only(**options: Any) -> dict[str, Any]:
    """The options that are not None."""
    return {key: value for key, value in options.items() if value is not None}


def components_of_run(path: str, config: Config) -> tuple[Components, RunFolder]:
    """The components of an earlier run, with the machine settings and data places of the command line."""
    folder = RunFolder.existing(path)
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else ()
    return Components.of(folder, config["run"], places_among(overrides, config)), folder
