"""SegFormer's head: every map projected to the same channels, enlarged, and merged by a 1x1 convolution."""

import torch
from torch import Tensor, nn

from dmtc.models.base import MODELS, Backbone, SegmentationModel
from dmtc.models.layers import PixelClassifier, conv_norm_relu, projection_head, refuse_sizes, resized_like
from dmtc.models.levels import Reassembled, pyramid_levels


class PerceptronDecoder(nn.Module):
    """Four maps to one at the size of the finest.

    Args:
        reassembled: Brings them to one number of channels.
        channels: That number.
    """

    def __init__(self, reassembled: Reassembled, channels: int) -> None:
        super().__init__()
        self.reassembled = reassembled
        self.merge = conv_norm_relu(len(reassembled) * channels, channels, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """(B, c_i, h_i, w_i) to (B, channels, h, w)."""
        finest, *others = self.reassembled(maps)
        return self.merge(torch.cat([finest, *(resized_like(each, finest) for each in others)], dim=1))


@MODELS.register("segformer")
class SegFormer(SegmentationModel):
    """The MLP head of SegFormer, for hierarchical backbones; logits at the stride of the finest map, mostly 4.

    Args:
        num_classes: Classes C.
        backbone: The feature extractor, with at least four maps at different strides.
        projection: Whether a loss needs an embedding.
        levels: Numbers of four maps, from 0, the last the deepest; None takes the four deepest.
        channels: Of the head's maps.
        dropout: Share of channels that are dropped before the classifier, in [0, 1).
        embedding_channels: Channels D of the embedding, which is computed from what the classifier sees.

    Raises:
        ConfigError: A size below 1, a share outside [0, 1), no such levels, or a backbone that does not suit.

    Source: Xie et al. 2021 (SegFormer), section 3.2, with its 256 channels for the smallest networks. Deviation: none.
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
        chosen = pyramid_levels(backbone, levels, 4, "segformer")
        reassembled = Reassembled(backbone, chosen, channels)
        decoder = PerceptronDecoder(reassembled, channels)
        classifier = PixelClassifier(channels, num_classes, dropout)
        head = projection_head(channels, embedding_channels) if projection else None
        super().__init__(backbone, classifier, head, decoder, chosen, reassembled.stride)
