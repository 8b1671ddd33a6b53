"""The registry of networks that are plain `torch.nn.Module`s, and what of their outputs are logits."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry, argument_faults, raise_faults, unknown

NETWORKS: Registry[nn.Module] = Registry("network", runtime=("num_classes", "pretrained"))
"""The registered builders of a `torch.nn.Module` that maps images (B, 3, H, W) to logits (B, C, h, w), chosen by
`model=torch_module model.network=NAME`. A builder may take `num_classes`, and `pretrained: bool`, whether it should
download its published weights, which is true only for `model.weights=imagenet`."""

HOW = "@dmtc.models.NETWORKS.register(NAME) before a function that returns it"


def network_faults(network: str | None, options: Mapping[str, Any], where: str) -> list[str]:
    """Every fault of the choice of a network, one sentence each; none if nothing is chosen.

    Args:
        network: Name in `NETWORKS`.
        options: Arguments of its builder.
        where: Place in the config, for example "model".
    """
    if network is None:
        return []
    if network not in NETWORKS.names():
        return [
            f"{where}.network: unknown network {unknown(network, NETWORKS.names())} (a module that registers it is"
            " imported first, or named as imports=[MODULE])"
        ]
    return argument_faults(NETWORKS.builder(network), options, f"{where}.options", NETWORKS.runtime)


def build_network(network: str, options: Mapping[str, Any], num_classes: int, pretrained: bool = False) -> nn.Module:
    """Build a registered network.

    Raises:
        ConfigError: The name or an option is unknown, or the builder returns something else than a module.
    """
    raise_faults(network_faults(network, options, "model"))
    builder = NETWORKS.builder(network)  # not `NETWORKS.build`, as an option may be called `name`
    given = {"num_classes": num_classes, "pretrained": pretrained}
    accepted = inspect.signature(builder).parameters
    made = builder(**options, **{key: value for key, value in given.items() if key in accepted})
    if not isinstance(made, nn.Module):
        raise ConfigError(
            f"model.network={network} should return a torch.nn.Module, but returned {type(made).__name__}"
        )
    return made


def logits_of(output: Any, network: str) -> Tensor:
    """The logits in what a network returns: a tensor, an entry or attribute `out` or `logits`, or the first of several.

    Args:
        output: As torchvision, transformers or a plain module return it.
        network: Name of the network, for the message.

    Raises:
        ConfigError: There is no map (B, C, h, w) among them.
    """
    found = output
    if isinstance(output, Mapping):
        found = output.get("out", output.get("logits"))
    elif isinstance(output, list | tuple):
        found = output[0] if output else None
    elif not isinstance(output, Tensor):
        found = getattr(output, "logits", None)
    if not isinstance(found, Tensor) or found.ndim != 4:
        what = f"a tensor {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(output).__name__}"
        raise ConfigError(
            f"model.network={network} should return logits (B, C, h, w), or them as `out` or `logits`, but returned"
            f" {what}"
        )
    return found
