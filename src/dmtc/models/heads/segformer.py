"""SegFormer's head: projects every map to the same channels, upsamples it, and merges all by a 1x1 convolution."""

import torch
from torch import Tensor, nn

from dmtc.models.base import MODELS
from dmtc.models.heads.four_levels import FourLevelModel
from dmtc.models.heads.levels import Reassembled
from dmtc.models.layers import conv_norm_relu, resized_like


class PerceptronDecoder(nn.Module):
    """Merges four maps into one at the size of the finest.

    Args:
        reassembled: Converts the maps to `channels` channels.
        channels: Channels of the maps.
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
class SegFormer(FourLevelModel):
    """The MLP head of SegFormer, for hierarchical backbones; logits at the stride of the finest map, usually 4.

    For arguments and errors, see `FourLevelModel`.

    Source: Xie et al. 2021 (SegFormer), section 3.2, with its 256 channels for the smallest networks. Deviation: none.
    """

    head = "segformer"
    decoder_of = PerceptronDecoder
    needs_pyramid = True
