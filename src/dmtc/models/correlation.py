"""Correlation between the cells of a map, an optional part of a network beside its classifier (CorrMatch).

How alike any two cells are spreads the logits from each cell to those like it, and says which cells form a region.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmtc.core.errors import ConfigError
from dmtc.core.registry import argument_faults, raise_faults


@dataclass(frozen=True)
class Correlation:
    """What a `CorrelationHead` returns.

    Attributes:
        logits: (B, C, h, w), the logits spread by the correlation, with gradient through the correlation only.
        weights: (B, h w, h w) with gradient; the row of cell p is a distribution over the cells q.
    """

    logits: Tensor
    weights: Tensor


class CorrelationHead(nn.Module):
    """Correlates the cells of a deep map.

    The map is reduced by a 3x3 convolution; two 1x1 convolutions give vectors f and g of C channels for every cell. The
    weights are the softmax over q of f_p . g_q / sqrt(C), and cell q gets the sum over p of the logits at p times the
    weight from p to q.

    Args:
        in_channels: Of the deep map, at least 1.
        num_classes: C, at least 1.
        channels: Of the reduced map, at least 1.
        dropout: Share of the reduced map's channels dropped in training, in [0, 1).

    Raises:
        ConfigError: `channels` is below 1, or the dropout is outside [0, 1).

    In YAML:

        correlation: {channels: 256, dropout: 0.1}

    Source: CorrMatch (Sun et al., CVPR 2024), section 3.2, with 256 channels and dropout 0.1; deviation: none.
    """

    def __init__(self, *, in_channels: int, num_classes: int, channels: int, dropout: float) -> None:
        super().__init__()
        raise_faults(_range_faults(channels, dropout, "model.correlation"))
        self.reduce = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
        )
        self.first = nn.Conv2d(channels, num_classes, 1)
        self.second = nn.Conv2d(channels, num_classes, 1)

    def forward(self, deep: Tensor, logits: Tensor) -> Correlation:
        """Correlate the cells of a map.

        Args:
            deep: (B, in_channels, h, w) with gradient.
            logits: (B, C, ., .) of any size, used without gradient.
        """
        return self.correlate(self.reduce(deep), logits)

    def correlate(self, reduced: Tensor, logits: Tensor) -> Correlation:
        """As `forward`, from the reduced map (B, channels, h, w)."""
        size = (reduced.shape[-2], reduced.shape[-1])
        first, second = self.first(reduced).flatten(2), self.second(reduced).flatten(2)
        weights = (first.transpose(1, 2) @ second / first.shape[1] ** 0.5).softmax(dim=2)
        small = logits.detach().to(weights.dtype)
        if tuple(small.shape[-2:]) != size:
            small = F.interpolate(small, size=size, mode="bilinear", align_corners=True)
        return Correlation((small.flatten(2) @ weights).unflatten(2, size), weights)


def correlation_faults(spec: Mapping[str, Any], where: str, needed: bool = False) -> list[str]:
    """All faults of a network's `correlation`, one sentence each.

    Args:
        spec: The network's spec. One without `correlation` has a fault only if a loss needs the head.
        where: The spec's place in the config, for messages, for example "model".
        needed: Whether a loss needs it.

    Examples:
        >>> correlation_faults({"correlation": {"channels": 0, "dropout": 0.1}}, "model")
        ['model.correlation.channels should be at least 1, but is 0']
    """
    where = f"{where}.correlation"
    if "correlation" not in spec:
        return [f"{where} is missing, but a loss term needs it, such as {{channels: 256, dropout: 0.1}}"] * needed
    options = spec["correlation"]
    if faults := argument_faults(CorrelationHead, options, where, runtime=("in_channels", "num_classes")):
        return faults
    return _range_faults(options["channels"], options["dropout"], where)


def _range_faults(channels: int, dropout: float, where: str) -> list[str]:
    faults = [] if channels >= 1 else [f"{where}.channels should be at least 1, but is {channels}"]
    return faults + ([] if 0 <= dropout < 1 else [f"{where}.dropout should lie in [0, 1), but is {dropout}"])


@torch.no_grad()
def correlated_regions(
    weights: Tensor, cells: tuple[int, int], size: tuple[int, int], count: int, generator: np.random.Generator
) -> Tensor:
    """The regions of pixels that randomly drawn cells are most alike to.

    The weights of a cell are upsampled, and the region is where they are above the mean of their smallest and largest.

    Args:
        weights: (B, h w, h w), of a `Correlation`.
        cells: (h, w).
        size: (H, W) in pixels.
        count: R, the number of cells drawn with replacement, the same in every image.
        generator: For the draw.

    Returns:
        Bool (B, R, H, W). A cell that is alike to all pixels gives an empty region.

    Raises:
        ConfigError: The count is below 1.

    Source: CorrMatch, section 3.2, with 128; deviations: every cell can be drawn, while its code leaves out the last
    one, and constant weights, which it divides by 0, give no region.
    """
    if count < 1:
        raise ConfigError(f"the number of regions should be at least 1, but is {count!r}")
    drawn = torch.from_numpy(generator.integers(weights.shape[1], size=count)).to(weights.device)
    return regions_of(weights[:, drawn].float().unflatten(2, cells), size)


def regions_of(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Where maps (B, R, h, w), upsampled, are above the mean of their extremes: bool (B, R, H, W)."""
    full = F.interpolate(maps, size=size, mode="bilinear", align_corners=True)
    lowest, highest = full.amin((2, 3), keepdim=True), full.amax((2, 3), keepdim=True)
    return (full - lowest) / (highest - lowest) > 0.5  # constant maps: 0 / 0 is not
