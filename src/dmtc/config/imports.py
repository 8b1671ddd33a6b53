"""`imports=[...]`: user modules that register their components when imported."""

import importlib
import sys
from pathlib import Path
from typing import Any

from dmtc.config.schema import are_names
from dmtc.core.errors import ConfigError


def import_modules(names: Any) -> None:
    """Import the modules of `imports=[...]`; the working directory is searched too.

    Raises:
        ConfigError: The module does not exist. An error inside a module is raised unchanged.
    """
    if not are_names(names):
        return  # the config check reports it
    if names and "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ConfigError(f"imports: {name!r} is not a module name, such as my_losses")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name.partition(".")[0] and error.name != name:
                raise
            raise ConfigError(f"imports: no module {name!r} in the working directory or the environment") from None
