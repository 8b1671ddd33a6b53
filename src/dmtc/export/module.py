"""One network, or the mean of several, as a self-contained module."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dmtc.models import SegmentationModel

CLASSES, CONFIDENCE, PROBABILITIES = "classes", "confidence", "probabilities"
INPUT = "images"


class ExportedModule(nn.Module):
    """Maps unprocessed images to the class of each pixel, including normalization and resizing of logits.

    Args:
        networks: Networks in evaluation mode, by letter.
        probabilities: Also return the probability of every class.
    """

    def __init__(self, networks: Mapping[str, SegmentationModel], probabilities: bool) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks.values())
        self.probabilities = probabilities
        self.eval()

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs of `forward`, in order."""
        return [CLASSES, CONFIDENCE, *([PROBABILITIES] if self.probabilities else [])]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Predict.

        Args:
            images: uint8 (B, 3, H, W), RGB.

        Returns:
            The most probable class of each pixel, uint8 (B, H, W); its probability averaged over the networks, float32
            (B, H, W); and, if requested, the probability of every class, float32 (B, C, H, W).
        """
        total = torch.softmax(self.networks[0](images), dim=1)
        for network in self.networks[1:]:
            total = total + torch.softmax(network(images), dim=1)
        mean = total / len(self.networks)
        confidence, classes = mean.max(dim=1)
        results = (classes.to(torch.uint8), confidence)
        return (*results, mean) if self.probabilities else results
