"""TensorFlow's "same" padding, written so that exporters of images of any size can follow it."""

import torch.nn.functional as F
from torch import Tensor, nn

from dmtc.export.replacing import with_parts


class HalvingConv(nn.Module):
    """A convolution of stride 2 and odd kernel whose padding depends on nothing but whether a side is odd.

    timm computes the same padding by a maximum of several terms. An exporter carries it as a formula of the image's
    size, nested once per halving, and did not finish within ten minutes.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, D, ceil(H / 2), ceil(W / 2)), the same values as timm's."""
        height, width = images.shape[-2:]
        bottom, right = (side // 2 for side in self.conv.kernel_size)
        padded = F.pad(images, (right - 1 + width % 2, right, bottom - 1 + height % 2, bottom))
        conv = self.conv
        return F.conv2d(padded, conv.weight, conv.bias, conv.stride, (0, 0), conv.dilation, conv.groups)


def with_simple_padding(module: nn.Module) -> nn.Module:
    """The module itself, or a copy with `HalvingConv` wherever that computes what timm's convolution does."""
    return with_parts(module, _simple)


def _simple(module: nn.Module) -> HalvingConv | None:
    from timm.layers.conv2d_same import Conv2dSame  # slow to import, and needed for exports alone

    if not (isinstance(module, Conv2dSame) and isinstance(module, nn.Conv2d)):
        return None
    odd = all(side % 2 == 1 for side in module.kernel_size)
    return HalvingConv(module) if odd and module.stride == (2, 2) and module.dilation == (1, 1) else None
