"""A linear classifier per cell, a probe of the backbone's maps."""

import torch
from torch import Tensor, nn

from dmtc.core.errors import ConfigError
from dmtc.models.base import MODELS, Backbone, SegmentationModel
from dmtc.models.heads.levels import given_levels, named
from dmtc.models.layers import PixelClassifier, refuse_sizes
from dmtc.models.projection import Projection


class NormalizedMaps(nn.Module):
    """Concatenates maps of one size and applies batch normalization."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """(B, c_i, h, w) to (B, sum of c_i, h, w)."""
        return self.bn(torch.cat(maps, dim=1))


@MODELS.register("linear")
class Linear(SegmentationModel):
    """Batch normalization and a 1x1 convolution, on any backbone; logits at its stride.

    Args:
        num_classes: Number of classes C.
        backbone: The feature extractor.
        projection: Builds the head for the embedding, or None if no loss needs one.
        levels: Indices of the maps to concatenate (blocks of a plain transformer), from 0, the last being the deepest;
            None takes only the deepest.
        dropout: Share of channels dropped before the classifier, in [0, 1).
        embedding_channels: Channels D of the embedding, which is computed from the classifier's input.

    Raises:
        ConfigError: A size is below 1, the dropout is outside [0, 1), or the levels do not exist or differ in stride.

    Source: Oquab et al. 2024 (DINOv2), section 7.4 ("linear").
    """

    every_level = True

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: Backbone,
        projection: Projection | None,
        levels: list[int] | None,
        dropout: float,
        embedding_channels: int,
    ) -> None:
        refuse_sizes(dropout=dropout, embedding_channels=embedding_channels)
        chosen = [len(backbone.levels) - 1] if levels is None else given_levels(backbone, levels)
        strides = {backbone.levels[level].stride for level in chosen}
        if len(strides) > 1:
            raise ConfigError(
                f"model.levels should be maps of one stride for model=linear, but {chosen} of {named(backbone)} have "
                f"strides {', '.join(map(str, sorted(strides)))}; model=upernet or segformer merges such maps"
            )
        channels = sum(backbone.levels[level].channels for level in chosen)
        classifier = PixelClassifier(channels, num_classes, dropout)
        head = projection(channels, embedding_channels) if projection else None
        super().__init__(backbone, classifier, head, NormalizedMaps(channels), chosen)
