"""DPT: turns a transformer's maps into a pyramid and fuses them from coarsest to finest."""

import torch.nn.functional as F
from torch import Tensor, nn

from dmtc.models.base import MODELS
from dmtc.models.heads.four_levels import FourLevelModel
from dmtc.models.heads.levels import Reassembled
from dmtc.models.layers import conv_norm_relu, resized_like


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions with a shortcut, each preceded by ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) to the same shape."""
        y = self.bn1(self.conv1(F.relu(x)))
        return x + self.bn2(self.conv2(F.relu(y)))


class Fusion(nn.Module):
    """Adds a finer map to the fused coarser ones."""

    def __init__(self, channels: int, deepest: bool) -> None:
        super().__init__()
        self.finer = None if deepest else ResidualUnit(channels)
        self.both = ResidualUnit(channels)
        self.out = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, finer: Tensor, coarser: Tensor | None) -> Tensor:
        """Two maps (B, channels, ...) to one at the size of the finer one."""
        if self.finer is not None and coarser is not None:
            finer = self.finer(finer) + resized_like(coarser, finer)
        return self.out(self.both(finer))


class FusionDecoder(nn.Module):
    """Fuses four maps into one at the size of the finest.

    Args:
        reassembled: Converts the maps to `channels` channels and four sizes.
        channels: Channels of the maps.
    """

    def __init__(self, reassembled: Reassembled, channels: int) -> None:
        super().__init__()
        self.reassembled = reassembled
        count = len(reassembled)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False) for _ in range(count)
        )
        self.fusions = nn.ModuleList(Fusion(channels, deepest=number == count - 1) for number in range(count))
        self.last = conv_norm_relu(channels, channels, 3)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """(B, c_i, h_i, w_i) to (B, channels, h, w)."""
        fused = None
        finer = self.reassembled(maps)
        for number in reversed(range(len(finer))):
            fused = self.fusions[number](self.convs[number](finer[number]), fused)
        return self.last(fused)


@MODELS.register("dpt")
class DPT(FourLevelModel):
    """The head of the dense prediction transformer, for plain transformers and hierarchical backbones.

    For arguments and errors, see `FourLevelModel`.

    Source: Ranftl et al. 2021 (DPT), section 3, its segmentation head. Deviations: logits have a quarter of the patch's
        stride (3.5 pixels for a patch of 14), whereas DPT's last fusion doubles the size once more; the class token is
        dropped, whereas DPT adds it to every patch; all four maps have the same number of channels.
    """

    head = "dpt"
    decoder_of = FusionDecoder
