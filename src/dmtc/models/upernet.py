"""UPerNet: a pooling pyramid on the deepest map, and a feature pyramid down to the finest."""

import torch
from torch import Tensor, nn

from dmtc.models.base import MODELS, Backbone, SegmentationModel
from dmtc.models.layers import PixelClassifier, conv_norm_relu, pooled, projection_head, refuse_sizes, resized_like
from dmtc.models.levels import Reassembled, several_levels

_CELLS = (1, 2, 3, 6)
"""Sides of the grids over which the deepest map is averaged."""


class UnifiedDecoder(nn.Module):
    """Four maps to one at the size of the finest.

    Args:
        reassembled: Brings them to one number of channels, and those of a plain transformer to four sizes.
        channels: That number.
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
class UPerNet(SegmentationModel):
    """UPerNet's head, for hierarchical backbones, and for plain transformers whose maps are first made into a pyramid.

    Args:
        num_classes: Classes C.
        backbone: The feature extractor, with at least four maps.
        projection: Whether a loss needs an embedding.
        levels: Numbers of four maps (blocks of a plain transformer), from 0, the last the deepest; None spreads them.
        channels: Of the head's maps.
        dropout: Share of channels that are dropped before the classifier, in [0, 1).
        embedding_channels: Channels D of the embedding, which is computed from what the classifier sees.

    Raises:
        ConfigError: A size below 1, a share outside [0, 1), no such levels, or a backbone with fewer than four maps.

    Source: Xiao et al. 2018 (UPerNet), section 3.1; Bao et al. 2022 (BEiT), for the pyramid of a plain transformer.
        Deviations: the averaged maps have no batch normalization; there is no auxiliary head.
    """

    every_level = True

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: Backbone,
        projection: bool,
        levels: list[int] | None,
        channels: int,
        dropout: float,
        embedding_channels: int,
    ) -> None:
        refuse_sizes(dropout=dropout, channels=channels, embedding_channels=embedding_channels)
        chosen = several_levels(backbone, levels, 4, "upernet")
        reassembled = Reassembled(backbone, chosen, channels)
        decoder = UnifiedDecoder(reassembled, channels)
        classifier = PixelClassifier(channels, num_classes, dropout)
        head = projection_head(channels, embedding_channels) if projection else None
        super().__init__(backbone, classifier, head, decoder, chosen, reassembled.stride)
