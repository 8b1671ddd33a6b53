"""Normalizes images as a network's weights expect. The normalization is stored with the weights.

Dataloaders return uint8 RGB, so two networks with different starting weights can normalize the same batch differently.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalization(nn.Module):
    """Shifts, scales and reorders the channels of RGB images, on the device.

    Its parameters are buffers, so they are saved and loaded with the weights that need them.

    Args:
        mean: Mean of the R, G and B channels, in units of [0, 1].
        std: Standard deviation of the R, G and B channels, in units of [0, 1]; 1/255 gives values in 0..255.
        bgr: Return the channels as B, G, R.

    Examples:
        >>> images = torch.tensor([0, 255], dtype=torch.uint8).expand(1, 3, 1, 2)
        >>> Normalization(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))(images)[0, 0]
        tensor([[-1.,  1.]])
    """

    mean: Tensor
    std: Tensor
    channel_order: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], bgr: bool = False) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))
        self.register_buffer("channel_order", torch.tensor([2, 1, 0] if bgr else [0, 1, 2]))

    def forward(self, images: Tensor) -> Tensor:
        """Normalize images.

        Args:
            images: (B, 3, H, W) RGB; uint8 in 0..255, or float in [0, 1].

        Returns:
            (B, 3, H, W) in the dtype of the buffers (float32 unless the model was cast). Gradients reach float images.
        """
        scale = 1 / 255 if images.dtype == torch.uint8 else 1.0
        images = images.to(self.mean.dtype) * scale
        images = (images - self.mean[:, None, None]) / self.std[:, None, None]
        return images.index_select(1, self.channel_order)


def imagenet() -> Normalization:
    """Normalization of torchvision's ImageNet weights."""
    return Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def caffe() -> Normalization:
    """Normalization of Caffe weights, such as DeepLab's COCO weights: BGR, 0..255, minus the mean pixel."""
    return Normalization(mean=(122.675 / 255, 116.669 / 255, 104.008 / 255), std=(1 / 255,) * 3, bgr=True)


def unit() -> Normalization:
    """No normalization but to [0, 1], for networks that have their own inside."""
    return Normalization(mean=(0, 0, 0), std=(1, 1, 1))


NORMALIZATIONS = {"imagenet": imagenet, "caffe": caffe, "unit": unit}
"""Choices of `model.normalization`, for weights that do not include their own normalization."""
