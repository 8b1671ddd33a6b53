"""DeepLab v2: a sum of dilated convolutions on a backbone, with an optional projection head for contrastive losses."""

from torch import Tensor, nn

from dmtc.core.errors import ConfigError
from dmtc.models.base import MODELS, Backbone, SegmentationModel
from dmtc.models.projection import Projection


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling of DeepLab v2: logits are a sum of 3x3 convolutions with several rates.

    Weights are initialized like PyTorch's convolutions, as in DMT's code (uniform within 1 / sqrt(fan-in)); the Caffe
    original uses a normal distribution with standard deviation 0.01. For ResNet-101, the two differ by a factor of two;
    the former also suits narrow backbones.

    Args:
        in_channels: Channels of the feature map.
        num_classes: Number of classes C.
        rates: Dilation of each branch.
        branches: How many branches to sum, from the first. The others exist, so that weights for all rates can be
            loaded, but are neither computed nor trained.

    Source: Chen et al. 2017 (DeepLab v2), section 3.2, with all four rates. The published DMT and DMTC code sums only
        two; `branches` allows both.
    """

    def __init__(self, in_channels: int, num_classes: int, rates: list[int], branches: int) -> None:
        super().__init__()
        self.branches = branches
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, num_classes, kernel_size=3, padding=rate, dilation=rate) for rate in rates
        )
        # Otherwise parameters without a gradient would count as trainable and fail gradient checks.
        self.convs[branches:].requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, h, w) to logits (B, C, h, w)."""
        logits = self.convs[0](features)
        for conv in self.convs[1 : self.branches]:
            logits = logits + conv(features)
        return logits


@MODELS.register("deeplabv2")
class DeepLabV2(SegmentationModel):
    """DeepLab v2 without its CRF and its three-scale input.

    Args:
        num_classes: Number of classes C.
        backbone: The feature extractor.
        projection: Builds the head for the embedding, or None if no loss needs one.
        aspp_rates: Dilation of each branch of the head, in cells of the feature map.
        aspp_branches: How many branches to sum; the published DMT and DMTC results use 2 of 4.
        embedding_channels: Channels D of the embedding.

    Raises:
        ConfigError: The number of branches is out of range, or a size is below 1.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: Backbone,
        projection: Projection | None,
        aspp_rates: list[int],
        aspp_branches: int,
        embedding_channels: int,
    ) -> None:
        if not aspp_rates or min(aspp_rates) < 1:
            raise ConfigError(f"model.aspp_rates should be a list of dilations of at least 1, but is {aspp_rates}")
        if not 1 <= aspp_branches <= len(aspp_rates):
            raise ConfigError(
                f"model.aspp_branches should lie in 1..{len(aspp_rates)}, the number of model.aspp_rates, "
                f"but is {aspp_branches}"
            )
        if embedding_channels < 1:
            raise ConfigError(f"model.embedding_channels should be at least 1, but is {embedding_channels}")
        # Create the classifier first: its initial weights must not depend on whether a loss needs an embedding.
        classifier = AtrousPyramid(backbone.channels, num_classes, aspp_rates, aspp_branches)
        head = projection(backbone.channels, embedding_channels) if projection else None
        super().__init__(backbone, classifier, head)
