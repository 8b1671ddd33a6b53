"""DeepLab v3+: parallel dilated convolutions on the deepest map, refined by a map at stride 4."""

import torch
from torch import Tensor, nn

from dmtc.models.base import MODELS, Backbone, SegmentationModel
from dmtc.models.heads.levels import low_and_deep
from dmtc.models.layers import PixelClassifier, conv_norm_relu, pooled, refuse_sizes, resized_like
from dmtc.models.projection import Projection


class AtrousPyramidPooling(nn.Module):
    """Atrous spatial pyramid pooling of DeepLab v3: merges branches of several rates and global average pooling.

    Args:
        in_channels: Channels of the feature map.
        channels: Channels of each branch and of the output.
        rates: Dilation of each 3x3 branch; there is also a 1x1 branch.

    Source: Chen et al. 2017 (DeepLab v3), section 3.3. Deviation: the pooling branch has no batch normalization.
    """

    def __init__(self, in_channels: int, channels: int, rates: list[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [conv_norm_relu(in_channels, channels, 1), *(conv_norm_relu(in_channels, channels, 3, r) for r in rates)]
        )
        self.mean = pooled(in_channels, channels, cells=1)
        self.merge = conv_norm_relu((len(rates) + 2) * channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, h, w) to (B, channels, h, w)."""
        mean = self.mean(features).expand(-1, -1, *features.shape[-2:])
        return self.merge(torch.cat([*(branch(features) for branch in self.branches), mean], dim=1))


class EdgeDecoder(nn.Module):
    """Upsamples the pooled deepest map to the size of a map at stride 4, and merges the two.

    Source: Chen et al. 2018 (DeepLab v3+), section 3.1 and figure 2. Deviation: plain 3x3 convolutions, not separable.
    """

    def __init__(self, low: int, deep: int, channels: int, low_channels: int, rates: list[int]) -> None:
        super().__init__()
        self.pooling = AtrousPyramidPooling(deep, channels, rates)
        self.reduce = conv_norm_relu(low, low_channels, 1)
        self.merge = nn.Sequential(
            conv_norm_relu(channels + low_channels, channels, 3), conv_norm_relu(channels, channels, 3)
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """(B, low, h, w) and (B, deep, h', w') to (B, channels, h, w)."""
        low, deep = maps
        return self.merge(torch.cat([resized_like(self.pooling(deep), low), self.reduce(low)], dim=1))


@MODELS.register("deeplabv3plus")
class DeepLabV3Plus(SegmentationModel):
    """DeepLab v3+ on any backbone that has a map at stride 4 and deeper ones; logits at stride 4.

    Args:
        num_classes: Number of classes C.
        backbone: The feature extractor.
        projection: Builds the head for the embedding, or None if no loss needs one.
        aspp_rates: Dilation of each 3x3 branch, in cells of the deepest map.
        channels: Channels of the head's maps.
        low_channels: Channels to which the map at stride 4 is reduced.
        dropout: Share of channels dropped before the classifier, in [0, 1).
        embedding_channels: Channels D of the embedding, which is computed from the classifier's input.

    Raises:
        ConfigError: A size is below 1, the dropout is outside [0, 1), or the backbone lacks such maps.
    """

    every_level = True

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: Backbone,
        projection: Projection | None,
        aspp_rates: list[int],
        channels: int,
        low_channels: int,
        dropout: float,
        embedding_channels: int,
    ) -> None:
        sizes = {"channels": channels, "low_channels": low_channels, "embedding_channels": embedding_channels}
        refuse_sizes(aspp_rates, dropout, **sizes)
        levels = low_and_deep(backbone, "deeplabv3plus")
        low, deep = (backbone.levels[level].channels for level in levels)
        decoder = EdgeDecoder(low, deep, channels, low_channels, aspp_rates)
        classifier = PixelClassifier(channels, num_classes, dropout)
        head = projection(channels, embedding_channels) if projection else None
        super().__init__(backbone, classifier, head, decoder, levels, backbone.levels[levels[0]].stride)
