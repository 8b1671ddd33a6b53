"""One network, or the mean of several, as a module that needs nothing around it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dmtc.models import SegmentationModel

CLASSES, CONFIDENCE, PROBABILITIES = "classes", "confidence", "probabilities"
INPUT = "images"


class ExportedModule(nn.Module):
    """From pictures as they are to the class of each pixel; normalization and resizing of logits are inside.

    Args:
        networks: In evaluation mode, by letter.
        probabilities: Also return the probability of every class.
    """

    def __init__(self, networks: Mapping[str, SegmentationModel], probabilities: bool) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks.values())
        self.probabilities = probabilities
        self.eval()

    @property
    def outputs(self) -> list[str]:
        """Names of what `forward` returns, in order."""
        return [CLASSES, CONFIDENCE, *([PROBABILITIES] if self.probabilities else [])]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Predict.

        Args:
            images: uint8 (B, 3, H, W), RGB.

        Returns:
            The likeliest class of each pixel, uint8 (B, H, W); its probability, float32 (B, H, W), the mean over the
            networks; and, if asked for, the probability of every class, float32 (B, C, H, W).
        """
        total = torch.softmax(self.networks[0](images), dim=1)
        for network in self.networks[1:]:
            total = total + torch.softmax(network(images), dim=1)
        mean = total / len(self.networks)
        confidence, classes = mean.max(dim=1)
        results = (classes.to(torch.uint8), confidence)
        return (*results, mean) if self.probabilities else results
