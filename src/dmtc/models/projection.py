"""The projection head, an optional part of a network beside its classifier: embeddings for the contrastive loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from dmtc.core.registry import argument_faults

PUBLISHED = {"width": 256, "kernel": 3}
"""Of DMTC's head, and of the networks whose spec names no projection."""


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Builds a projection head: a convolution, batch normalization, ReLU and a 1x1 convolution to the embedding.

    On the merged maps of a light network the published 3x3 convolution costs more than all the rest. There, a kernel
    of 1 and as many channels as the maps have take a tenth of that.

    Args:
        width: Hidden channels, at least 1.
        kernel: Height and width of the first convolution, odd.

    In YAML:

        projection: {width: 256, kernel: 3}

    Examples:
        >>> import torch
        >>> Projection(width=4, kernel=1)(8, 16)(torch.zeros(2, 8, 5, 7)).shape
        torch.Size([2, 16, 5, 7])

    Source: Liu et al. 2022 (ReCo), section 3.1, as DMTC adds it to DeepLab v2, with width 256 and kernel 3.
    """

    width: int
    kernel: int

    def __call__(self, in_channels: int, out_channels: int) -> nn.Sequential:
        """The head from maps (B, in_channels, h, w) to embeddings (B, out_channels, h, w)."""
        return nn.Sequential(
            nn.Conv2d(in_channels, self.width, self.kernel, padding=self.kernel // 2, bias=False),
            nn.BatchNorm2d(self.width),
            nn.ReLU(inplace=True),
            nn.Conv2d(self.width, out_channels, kernel_size=1),
        )


def projection_of(spec: Mapping[str, Any]) -> Projection:
    """What a network's spec says of its projection head, by default what was published."""
    return Projection(**spec.get("projection", PUBLISHED))


def projection_faults(spec: Mapping[str, Any], where: str) -> list[str]:
    """All faults of a network's `projection`, one sentence each.

    Args:
        spec: The network's spec.
        where: The spec's place in the config, for messages, for example "model".

    Examples:
        >>> projection_faults({"projection": {"width": 64, "kernel": 2}}, "model")
        ['model.projection.kernel should be odd and at least 1, but is 2']
    """
    where, options = f"{where}.projection", spec.get("projection", PUBLISHED)
    if faults := argument_faults(Projection, options, where):
        return faults
    width, kernel = options["width"], options["kernel"]
    faults = [] if width >= 1 else [f"{where}.width should be at least 1, but is {width}"]
    odd = kernel >= 1 and kernel % 2 == 1
    return faults + ([] if odd else [f"{where}.kernel should be odd and at least 1, but is {kernel}"])
