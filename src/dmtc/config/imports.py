"""`imports=[...]`: modules of the user's, whose parts register themselves when they are imported."""

import importlib
import sys
from pathlib import Path
from typing import Any

from dmtc.config.schema import are_names
from dmtc.core.errors import ConfigError


def import_modules(names: Any) -> None:
    """Import the modules of `imports=[...]`, looked up from the working directory too.

    Raises:
        ConfigError: No such module. A fault inside a module is shown as it is.
    """
    if not are_names(names):
        return  # `check` tells
    if names and "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ConfigError(f"imports: {name!r} is no name of a module, such as my_losses")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name.partition(".")[0] and error.name != name:
                raise
            raise ConfigError(f"imports: no module {name!r} in the working directory or the environment") from None
