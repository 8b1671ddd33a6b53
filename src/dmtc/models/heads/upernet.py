"""UPerNet: a pooling pyramid on the deepest map and a feature pyramid down to the finest."""

import torch
from torch import Tensor, nn

from dmtc.models.base import MODELS
from dmtc.models.heads.four_levels import FourLevelModel
from dmtc.models.heads.levels import Reassembled
from dmtc.models.layers import conv_norm_relu, pooled, resized_like

_CELLS = (1, 2, 3, 6)
"""Grid sizes to which the deepest map is average-pooled."""


class UnifiedDecoder(nn.Module):
    """Merges four maps into one at the size of the finest.

    Args:
        reassembled: Converts the maps to `channels` channels, and those of a plain transformer to four sizes.
        channels: Channels of the maps.
    """

    def __init__(self, reassembled: Reassembled, channels: int) -> None:
        super().__init__()
        self.reassembled = reassembled
        self.pools = nn.ModuleList(pooled(channels, channels, cells) for cells in _CELLS)
        self.pooled = conv_norm_relu((len(_CELLS) + 1) * channels, channels, 3)
        self.smooth = nn.ModuleList(conv_norm_relu(channels, channels, 3) for _ in range(len(reassembled) - 1))
        self.merge = conv_norm_relu(len(reassembled) * channels, channels, 3)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """(B, c_i, h_i, w_i) to (B, channels, h, w)."""
        *finer, deepest = self.reassembled(maps)
        pools = [resized_like(pool(deepest), deepest) for pool in self.pools]
        merged = self.pooled(torch.cat([deepest, *pools], dim=1))
        pyramid = [merged]
        for each, smooth in zip(reversed(finer), self.smooth, strict=True):
            merged = each + resized_like(merged, each)
            pyramid.append(smooth(merged))
        finest = pyramid[-1]
        return self.merge(torch.cat([finest, *(resized_like(each, finest) for each in pyramid[:-1])], dim=1))


@MODELS.register("upernet")
class UPerNet(FourLevelModel):
    """UPerNet's head, for hierarchical backbones, and for plain transformers, whose maps are made into a pyramid first.

    For arguments and errors, see `FourLevelModel`.

    Source: Xiao et al. 2018 (UPerNet), section 3.1; Bao et al. 2022 (BEiT), for the pyramid of a plain transformer.
        Deviations: the pooled maps have no batch normalization; there is no auxiliary head.
    """

    head = "upernet"
    decoder_of = UnifiedDecoder
