"""Layers shared by the heads. All of them take maps of any size."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmtc.core.errors import ConfigError


class PixelClassifier(nn.Module):
    """Channel dropout, then a 1x1 convolution to class logits: (B, channels, h, w) to (B, C, h, w)."""

    def __init__(self, channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.scores = nn.Conv2d(channels, num_classes, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, h, w) to logits (B, C, h, w)."""
        return self.scores(self.dropout(features))


def conv_norm_relu(in_channels: int, out_channels: int, kernel_size: int, dilation: int = 1) -> nn.Sequential:
    """A size-preserving convolution, batch normalization and ReLU."""
    padding = dilation * (kernel_size // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def pooled(in_channels: int, out_channels: int, cells: int) -> nn.Sequential:
    """Average pooling to `cells` x `cells`, a 1x1 convolution and ReLU.

    No batch normalization, because a single image of one cell has no statistics: training would fail whenever the batch
    size or `accumulate` leaves one image per part.
    """
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(cells), nn.Conv2d(in_channels, out_channels, kernel_size=1), nn.ReLU(inplace=True)
    )


def resized_like(features: Tensor, other: Tensor) -> Tensor:
    """Resize a map to another map's height and width, bilinearly with aligned corners."""
    return F.interpolate(features, size=other.shape[-2:], mode="bilinear", align_corners=True)


def refuse_sizes(rates: Sequence[int] = (), dropout: float = 0.0, **channels: int) -> None:
    """Check the options of a head.

    Raises:
        ConfigError: An option is out of range; one message lists all errors.
    """
    faults = [f"model.{name} should be at least 1, but is {number}" for name, number in channels.items() if number < 1]
    if any(rate < 1 for rate in rates):
        faults.append(f"model.aspp_rates should be a list of dilations of at least 1, but is {list(rates)}")
    if not 0 <= dropout < 1:
        faults.append(f"model.dropout should lie in [0, 1), but is {dropout}")
    if faults:
        raise ConfigError("; ".join(faults))


def at_least_float32(x: Tensor) -> Tensor:
    """The tensor in float32, or in its own type if that is more precise."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
