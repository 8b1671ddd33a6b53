"""Networks with a backbone of their own: a recipe's choice of another one falls away, and a user's is refused."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from dmtc.config.folder import LoadedFile
from dmtc.core.errors import ConfigError


def keep_own_backbones(
    cfg: DictConfig, overrides: Sequence[str], choices: Mapping[str, Any], files: Sequence[LoadedFile]
) -> None:
    """Leave `backbone: null` where the file of a network says so, whatever data sets and recipes choose.

    Args:
        cfg: As composed; changed in place.
        overrides: What it was composed of, in Hydra's terms.
        choices: The choice of each group, as Hydra says (`hydra.runtime.choices`).
        files: The files it was composed of.

    Raises:
        ConfigError: An override chooses a backbone that nothing would use.
    """
    own = {Path(one.path).stem for one in files if one.group == "model" and one.content.get("backbone", 1) is None}
    if not own:
        return
    given = [override.lstrip("+~").partition("=")[0] for override in overrides]
    for where in ("model", *(key.partition("@")[2] for key in choices if key.startswith("model@"))):
        model = str(choices.get("model" if where == "model" else f"model@{where}"))
        if model not in own:
            continue
        group = "model/backbone" if where == "model" else f"model/backbone@{where}.backbone"
        if group in given:
            raise ConfigError(f"{where}/backbone: {where}={model} has a backbone of its own; leave it out")
        if not any(key.startswith(f"{where}.backbone") for key in given):
            with open_dict(cfg):
                OmegaConf.update(cfg, f"{where}.backbone", None)
