"""Hue and blur on the CPU by OpenCV, in little more than half the time of tensor operations.

They equal `dmtc.data.augment.colors.operations` up to the rounding of float32, about 0.0002 of 255 levels. Images are
float32 (n, 3, H, W) with values in [0, 255].
"""

import cv2
import numpy as np
import torch
from torch import Tensor


def hue(images: Tensor, turns: list[float]) -> Tensor:
    """Turn the color circle of each image by its `turns`."""
    result = torch.empty_like(images)
    for image, turned, turn in zip(images.numpy(), result.numpy(), turns, strict=True):
        hsv = cv2.cvtColor(cv2.merge(list(image)), cv2.COLOR_RGB2HSV)
        degrees = hsv[..., 0]
        degrees += np.float32(360 * turn)
        # OpenCV's vectorized kernel takes only angles of one circle.
        degrees[degrees < 0] += 360
        degrees[degrees >= 360] -= 360
        cv2.split(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), list(turned))
    return result


def blur(images: Tensor, kernels: list[Tensor]) -> Tensor:
    """Blur each image with its kernel, float32 (2r + 1,), down and across; edge pixels are repeated outwards."""
    result = torch.empty_like(images)
    for image, blurred, kernel in zip(images.numpy(), result.numpy(), kernels, strict=True):
        taps = kernel.numpy()
        for channel, into in zip(image, blurred, strict=True):
            cv2.sepFilter2D(channel, cv2.CV_32F, taps, taps, dst=into, borderType=cv2.BORDER_REPLICATE)
    return result
