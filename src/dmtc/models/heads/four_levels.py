"""Base of networks whose head merges four maps of the backbone; a head is defined by its decoder."""

from collections.abc import Callable
from typing import ClassVar

from torch import nn

from dmtc.models.base import Backbone, SegmentationModel
from dmtc.models.heads.levels import Reassembled, pyramid_levels, several_levels
from dmtc.models.layers import PixelClassifier, refuse_sizes
from dmtc.models.projection import Projection


class FourLevelModel(SegmentationModel):
    """Converts four maps to equal channels, merges them and classifies; logits at the finest map's stride.

    Subclass it with a decoder, and register the subclass in `MODELS`.

    Args:
        num_classes: Number of classes C.
        backbone: The feature extractor, with at least four maps.
        projection: Builds the head for the embedding, or None if no loss needs one.
        levels: Indices of four maps (blocks of a plain transformer), from 0, the last being the deepest; None takes the
            four deepest, or evenly spaced ones for a plain transformer.
        channels: Channels of the head's maps.
        dropout: Share of channels dropped before the classifier, in [0, 1).
        embedding_channels: Channels D of the embedding, which is computed from the classifier's input.

    Attributes:
        head: The head's name in the registry, for messages.
        decoder_of: Builds the decoder from a `Reassembled` and the number of channels. The decoder takes the list of
            four maps (B, c_i, h_i, w_i) and returns (B, channels, h, w) at the size of the finest.
        needs_pyramid: Whether the maps must have different strides, unlike those of a plain transformer.

    Raises:
        ConfigError: A size is below 1, the dropout is outside [0, 1), a level does not exist, or the backbone does not
            fit.
    """

    every_level = True
    head: ClassVar[str]
    decoder_of: ClassVar[Callable[[Reassembled, int], nn.Module]]
    needs_pyramid: ClassVar[bool] = False

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: Backbone,
        projection: Projection | None,
        levels: list[int] | None,
        channels: int,
        dropout: float,
        embedding_channels: int,
    ) -> None:
        refuse_sizes(dropout=dropout, channels=channels, embedding_channels=embedding_channels)
        choose = pyramid_levels if self.needs_pyramid else several_levels
        chosen = choose(backbone, levels, 4, self.head)
        reassembled = Reassembled(backbone, chosen, channels)
        decoder = type(self).decoder_of(reassembled, channels)
        classifier = PixelClassifier(channels, num_classes, dropout)
        embedding = projection(channels, embedding_channels) if projection else None
        super().__init__(backbone, classifier, embedding, decoder, chosen, reassembled.stride)
