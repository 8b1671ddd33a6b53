"""One weight for all pixels of an image: how sure the teacher is of the image."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dmtc.losses.base import require
from dmtc.losses.selection.base import SELECTIONS, Pixels


@SELECTIONS.register("image_share")
@dataclass(frozen=True, kw_only=True)
class ImageShare:
    """The share of an image's pixels that are confident, as the weight of all its pixels.

    Args:
        threshold: In [0, 1]; a pixel at least as confident counts.
        count_ignored: Whether ignored pixels count among the confident ones. The share is of the pixels that are not
            ignored all the same, so it can be above 1.

    Source: ReCo's mean teachers (Liu et al., ICLR 2022, code), threshold 0.97, `count_ignored` true; PrevMatch's
    `pixelratio` with false. Deviation: an image without a valid pixel has no weight instead of an infinite one.

    Examples:
        >>> import torch
        >>> label, confidence = torch.tensor([[[0, 1, 255]]]), torch.tensor([[[0.98, 0.5, 0.99]]])
        >>> pixels = Pixels(label, confidence, num_classes=2)
        >>> ImageShare(threshold=0.97, count_ignored=False)(pixels)
        tensor([[[0.5000, 0.5000, 0.5000]]])
        >>> ImageShare(threshold=0.97, count_ignored=True)(pixels)
        tensor([[[1., 1., 1.]]])
    """

    threshold: float
    count_ignored: bool

    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, self, "threshold", "in [0, 1]")

    def __call__(self, pixels: Pixels) -> Tensor:
        """Float32 (B, H, W)."""
        confident = pixels.confidence >= self.threshold
        if not self.count_ignored:
            confident = confident & pixels.valid
        return _everywhere(_per_valid_pixel(confident, pixels), pixels)


@SELECTIONS.register("image_mean")
@dataclass(frozen=True, kw_only=True)
class ImageMean:
    """The mean confidence of an image's pixels that are not ignored, as the weight of all its pixels.

    Args:
        summed: Whether each image gets the sum of all these means over the whole batch instead, which makes the loss
            about as many times too large as the batch has images.

    Source: PrevMatch (Shin et al., WACV 2025), `pixelavg` of its code, which `summed: true` follows. Deviation: pixels
    of padding, which its code learns from too, are left out.

    Examples:
        >>> import torch
        >>> label, confidence = torch.tensor([[[0, 255]], [[1, 1]]]), torch.tensor([[[0.5, 0.9]], [[0.2, 0.6]]])
        >>> pixels = Pixels(label, confidence, num_classes=2)
        >>> ImageMean(summed=False)(pixels)[:, 0, 0], ImageMean(summed=True)(pixels)[:, 0, 0]
        (tensor([0.5000, 0.4000]), tensor([0.9000, 0.9000]))
    """

    summed: bool

    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, pixels: Pixels) -> Tensor:
        """Float32 (B, H, W)."""
        mean = _per_valid_pixel(pixels.confidence.float().where(pixels.valid, 0), pixels)
        return _everywhere(pixels.summed(mean.sum()[None]).expand_as(mean) if self.summed else mean, pixels)


def _per_valid_pixel(values: Tensor, pixels: Pixels) -> Tensor:
    """The sum over each image, divided by the number of its valid pixels: (B)."""
    return values.sum((1, 2)) / pixels.valid.sum((1, 2)).clamp(min=1)


def _everywhere(weight: Tensor, pixels: Pixels) -> Tensor:
    return weight[:, None, None].expand(pixels.label.shape)
