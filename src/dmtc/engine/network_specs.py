"""Which part of a config describes which network."""

from collections.abc import Mapping, Sequence
from typing import Any

from dmtc.config.schema import Config
from dmtc.core.errors import ConfigError


def network_spec(config: Config, network: str) -> tuple[Mapping[str, Any], str]:
    """The part of a config that a network is built from, and its key.

    Args:
        config: From `settle`, or from an earlier run.
        network: Letter of the network.

    Returns:
        For network b, `model_b` and its key if it is set; otherwise `model`, which networks share by default.
    """
    where = f"model_{network}"
    own = config.get(where)
    return (config["model"], "model") if own is None else (own, where)


def refuse_networks(config: Config, trained: Sequence[str]) -> None:
    """Refuse options of networks that no phase trains. Options of network b may stay with a one-network method.

    Raises:
        ConfigError: There are such options.
    """
    model = config["model"]
    options = {key: key.removeprefix("model_") for key in config if key.startswith("model_")}
    options |= {f"model.{part}.{letter}": letter for part in ("weights", "normalization") for letter in model[part]}
    idle = [option for option, letter in options.items() if letter not in (*trained, "a", "b")]
    if idle:
        raise ConfigError(
            f"{', '.join(idle)}: there is no network {', '.join(sorted({options[one] for one in idle}))}; the plan"
            f" trains {' and '.join(trained)}"
        )
