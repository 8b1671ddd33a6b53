"""A small convolutional backbone for the built-in data set, tests and quick trials on a CPU."""

from collections.abc import Sequence

from torch import Tensor, nn

from dmtc.core.errors import ConfigError
from dmtc.models.base import BACKBONES, Backbone, Level
from dmtc.models.normalization import imagenet


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; dilation enlarges the receptive field without losing resolution."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv3x3(channels, channels, dilation=dilation), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = _conv3x3(channels, channels, dilation=dilation), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) to the same shape."""
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(x + self.bn2(self.conv2(y)))


@BACKBONES.register("tiny")
class Tiny(Backbone):
    """A stem of stride 4, then residual blocks of increasing dilation.

    Both halves of the stem and every block give a map.

    Args:
        width: Channels of the feature map, a positive even number.

    Raises:
        ConfigError: The width is not a positive even number.
    """

    stride = 4

    def __init__(self, *, width: int) -> None:
        super().__init__()
        if width < 2 or width % 2:
            raise ConfigError(f"model.backbone.width should be a positive even number, but is {width}")
        self.channels = width
        self.normalization = imagenet()
        self.stem = nn.Sequential(
            _conv3x3(3, width // 2, stride=2),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(inplace=True),
            _conv3x3(width // 2, width, stride=2),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.blocks = nn.Sequential(*(ResidualBlock(width, dilation) for dilation in (1, 2, 4)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def levels(self) -> Sequence[Level]:
        """One of stride 2, and four of stride 4."""
        return [Level(self.channels // 2, 2), *[Level(self.channels, 4)] * (1 + len(self.blocks))]

    def forward(self, images: Tensor) -> Tensor:
        """Normalized (B, 3, H, W) to (B, width, h, w), h = ceil(H / 4)."""
        return self.blocks(self.stem(images))

    def features(self, images: Tensor, levels: Sequence[int]) -> list[Tensor]:
        """Normalized (B, 3, H, W) to one map (B, channels, h, w) per level."""
        maps, half = [], 3  # layers of the first half of the stem
        for part in (self.stem[:half], self.stem[half:], *self.blocks):
            maps.append(part(maps[-1] if maps else images))
        return [maps[level] for level in levels]

    def depths(self) -> dict[str, int]:
        """The stem is 0; each block is one layer."""
        names = [name.split(".") for name, _ in self.named_parameters()]
        return {".".join(parts): 1 + int(parts[1]) if parts[0] == "blocks" else 0 for parts in names}


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    # No bias: batch normalization follows and would cancel it.
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, bias=False)
