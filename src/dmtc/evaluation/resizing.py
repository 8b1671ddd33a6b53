"""Resizing on the device, for protocols and multi-scale prediction.

Images, truth and logits all have their pixel centers at half coordinates (`align_corners=False`), so they stay aligned.
Shrinking keeps the linear filter's width (no antialiasing), as in `dmtc.data.augment`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def resized_images(images: Tensor, height: int, width: int) -> Tensor:
    """Resize uint8 images (B, 3, H, W) bilinearly, rounded back to uint8 like the training crops."""
    if images.shape[-2:] == (height, width):
        return images
    return _linear(images, height, width).round().to(torch.uint8)


def resized_logits(logits: Tensor, height: int, width: int) -> Tensor:
    """Resize logits (B, C, H, W) bilinearly; returns float32."""
    return logits.float() if logits.shape[-2:] == (height, width) else _linear(logits, height, width)


def resized_truth(truth: Tensor, height: int, width: int) -> Tensor:
    """Resize truth, int64 (B, H, W), by nearest-neighbor interpolation."""
    if truth.shape[-2:] == (height, width):
        return truth
    # Nearest-neighbor resizing has no integer kernel; class indices are exact in float32.
    return F.interpolate(truth[:, None].float(), size=(height, width), mode="nearest-exact")[:, 0].long()


def _linear(x: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(x.float(), size=(height, width), mode="bilinear", align_corners=False)
