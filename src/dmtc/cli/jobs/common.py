"""What several jobs need: the components of a training that is not begun, or of an earlier run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from dmtc.config.schema import Config
from dmtc.core.errors import ConfigError
from dmtc.engine.components import Components
from dmtc.run.folder import RunFolder
from dmtc.run.moved import places_among


def components_to_look_at(config: Config, given: Sequence[str]) -> Components:
    """The parts of a training that is not begun: nothing is written, the pictures of the built-in data set neither.

    Raises:
        ConfigError: A folder is named that is not there, for no data set in particular.
    """
    root = config["dataset"].get("root")
    is_unsaid = "dataset.root" in given and not {"dataset", "experiment"} & set(given)
    if root is not None and is_unsaid and not Path(root).expanduser().exists():
        raise ConfigError(
            f"there is no folder {root}; with pictures of your own, say experiment=your_data dataset.root=DIR (or"
            " dataset=folder): without, dataset.root is where the built-in data set keeps its pictures"
        )
    return Components(config, keeps=False)


def run_of(config: Config, command: str) -> str:
    """The folder of the run that a job is about."""
    if config["run_dir"] is None:
        name = command.partition(" ")[0]
        raise ConfigError(
            f"job={name} needs the run's folder: python run.py job={name} run=RUN_DIR{command.removeprefix(name)}"
        )
    return config["run_dir"]


def given_only(**options: Any) -> dict[str, Any]:
    """The options that are not None."""
    return {key: value for key, value in options.items() if value is not None}


def components_of_run(path: str, config: Config) -> tuple[Components, RunFolder]:
    """The parts of an earlier run, on the machine as it is used now, with its data where the command says."""
    folder = RunFolder.existing(path)
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else ()
    return Components.of(folder, config["run"], places_among(overrides, config)), folder
