"""Operations on colors: of many images at once, with a strength each, on any device.

An operation takes float32 images (n, 3, H, W) with values in [0, 255], which it may overwrite, and n strengths. It
returns images of the same shape and range. Values need not be whole: an image is rounded once, after its last
operation. What comes of an image does not depend on the others.

On the CPU, OpenCV does the dearest, hue and blur (`dmtc.data.augment.colors.on_cpu`).
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from dmtc.data.augment.colors import on_cpu

Strengths: TypeAlias = npt.NDArray[np.float64]
Operation: TypeAlias = Callable[[Tensor, Strengths], Tensor]

_DARKEST_IN_HUE = (3.0, 5.0, 1.0)  # sixths of the color circle where red, green and blue are darkest


def brightness(images: Tensor, factor: Strengths) -> Tensor:
    """Multiply by `factor`: 0 is black, 1 changes nothing."""
    return images.mul_(_per_image(factor, images)).clamp_(0, 255)


def contrast(images: Tensor, factor: Strengths) -> Tensor:
    """Blend with the mean gray value of the image: 0 is uniformly gray, 1 changes nothing."""
    # A sum of whole numbers is exact, so it does not depend on how many images a kernel sums at once.
    total = _luma(images).round_().to(torch.int32).sum(dim=(1, 2, 3), dtype=torch.int64)
    mean = total.float() / (images.shape[-2] * images.shape[-1])
    return _blend(mean.view(-1, 1, 1, 1), images, factor)


def saturation(images: Tensor, factor: Strengths) -> Tensor:
    """Blend with the gray image: 0 is gray, 1 changes nothing."""
    return _blend(_luma(images), images, factor)


def hue(images: Tensor, turns: Strengths) -> Tensor:
    """Turn the color circle by `turns`, in [-0.5, 0.5] turns; value and saturation (HSV) stay."""
    if images.device.type == "cpu":
        return on_cpu.hue(images.contiguous(), turns.tolist())
    return hue_of_tensors(images, turns)


def hue_of_tensors(images: Tensor, turns: Strengths) -> Tensor:
    """`hue` on any device."""
    red, green, blue = images.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    scale = chroma.clamp(min=1e-6).reciprocal_()  # gray pixels have no hue; any will do, as their chroma is 0
    of_green = (blue - red).mul_(scale).add_(2)
    of_blue = (red - green).mul_(scale).add_(4)
    angle = torch.where(value == red, (green - blue) * scale, torch.where(value == green, of_green, of_blue))
    result = torch.empty_like(images)
    for channel, darkest in enumerate(_DARKEST_IN_HUE):
        away = angle + (_per_image(turns, images).squeeze(1) * 6 - darkest)
        away.sub_(torch.round(away / 6).mul_(6)).abs_()  # sixths of the circle to where this channel is darkest
        torch.addcmul(value, chroma, away.neg_().add_(2).clamp_(0, 1), value=-1, out=result[:, channel])
    return result


def gray(images: Tensor, strength: Strengths) -> Tensor:
    """The gray image, in all three channels; takes no strength."""
    return images.copy_(_luma(images))


def blur(images: Tensor, sigma: Strengths) -> Tensor:
    """Gaussian blur of standard deviation `sigma` pixels, cut off at 3 sigma; edge pixels are repeated outwards."""
    reach = np.ceil(3 * sigma)
    most = int(reach.max())
    offsets = np.arange(-most, most + 1)
    taps = np.exp(-0.5 * (offsets / np.maximum(sigma, 1e-3)[:, None]) ** 2)
    taps[np.abs(offsets) > reach[:, None]] = 0  # so that the strongest blur of a batch changes no other image
    weights = torch.from_numpy(taps / taps.sum(1, keepdims=True)).float()
    if images.device.type == "cpu":
        own = [each[most - int(far) : most + int(far) + 1] for each, far in zip(weights, reach, strict=True)]
        return on_cpu.blur(images.contiguous(), own)
    return blur_of_tensors(images, weights.T.contiguous().to(images.device))


def blur_of_tensors(images: Tensor, weights: Tensor) -> Tensor:
    """`blur` on any device, with weights (2r + 1, n)."""
    most = len(weights) // 2
    for dim, padding in ((2, (0, 0, most, most)), (3, (most, most, 0, 0))):
        extent = images.shape[dim]
        padded = F.pad(images, padding, mode="replicate")
        images = torch.zeros_like(images)
        for first, weight in enumerate(weights):
            images.addcmul_(padded.narrow(dim, first, extent), weight.view(-1, 1, 1, 1))
    return images


def identity(images: Tensor, strength: Strengths) -> Tensor:
    """The images themselves; takes no strength."""
    return images


def autocontrast(images: Tensor, strength: Strengths) -> Tensor:
    """Stretch each channel of each image to [0, 255]; a uniform channel stays. Takes no strength."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    stretched = (images - low) * (255 / (high - low).clamp(min=1e-6))
    return torch.where(high > low, stretched, images).clamp_(0, 255)


def equalize(images: Tensor, strength: Strengths) -> Tensor:
    """Give each channel of each image a flat histogram; takes no strength."""
    from torchvision.transforms.v2.functional import equalize as equalized  # slow to import and rarely needed

    return equalized(images.round_().to(torch.uint8)).float()


def sharpness(images: Tensor, factor: Strengths) -> Tensor:
    """Blend with a smoothed image: 0 is smooth, 1 changes nothing; the outermost pixels stay.

    The smooth image is the mean of 3x3 pixels, of which the middle one counts five times, as in Pillow.
    """
    if min(images.shape[-2:]) < 3:
        return images
    inner = images[..., 1:-1, 1:-1]
    of_rows = images[..., :-2, :] + images[..., 1:-1, :] + images[..., 2:, :]
    smooth = of_rows[..., :-2] + of_rows[..., 1:-1] + of_rows[..., 2:]
    smooth.add_(inner, alpha=4).div_(13)
    inner.copy_(_blend(smooth, inner, factor))
    return images


def posterize(images: Tensor, bits: Strengths) -> Tensor:
    """Keep the first `bits` of the eight bits of each value."""
    step = _per_image(2.0 ** (8 - bits), images)
    return images.round_().div_(step).floor_().mul_(step)


def solarize(images: Tensor, threshold: Strengths) -> Tensor:
    """Invert the values from `threshold` on."""
    images = images.round_()
    return torch.where(images >= _per_image(threshold, images), 255 - images, images)


def _per_image(strengths: Strengths, images: Tensor) -> Tensor:
    return torch.from_numpy(strengths).float().to(images.device).view(-1, 1, 1, 1)


def _luma(images: Tensor) -> Tensor:
    """Gray values (n, 1, H, W), weighted as the eye does (ITU-R 601)."""
    return (images[:, 0:1] * 0.299).add_(images[:, 1:2], alpha=0.587).add_(images[:, 2:3], alpha=0.114)


def _blend(other: Tensor, images: Tensor, factor: Strengths) -> Tensor:
    return torch.lerp(other, images, _per_image(factor, images)).clamp_(0, 255)
