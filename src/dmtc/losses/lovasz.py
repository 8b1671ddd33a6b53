"""Lovász-softmax loss: a surrogate of the IoU of every class."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dmtc.core.types import LossValue
from dmtc.losses.base import LOSSES, masked_mean, upsample
from dmtc.losses.overlap import class_maps, mean_over_present


@LOSSES.register("lovasz")
@dataclass(frozen=True, kw_only=True)
class LovaszSoftmax:
    """The Lovász extension of one minus the IoU of each class, averaged over the classes of an image, then over images.

    The error of a pixel is 1 - p_c in pixels of class c and p_c elsewhere. With the errors m_1 >= m_2 >= ... of an
    image sorted, the loss of the class is sum_i m_i (J_i - J_{i-1}), where J_i = 1 - (n - f_i) / (n + i - f_i) is the
    Jaccard loss if the first i pixels are wrong: n pixels of the image are of the class, f_i of them among the first i.
    Ignored pixels and classes without a pixel in the image's label are left out.

    In YAML:

        name: lovasz

    Source: Berman et al. (CVPR 2018), equations 8, 9 and 11, per image and over the present classes, as their code
    offers both; deviation: an image without a label counts for nothing.

    Examples:
        >>> import torch
        >>> from dmtc.losses import LovaszSoftmax
        >>> logits = torch.zeros(1, 2, 1, 3)  # one image of three pixels, two classes, each of probability 0.5
        >>> LovaszSoftmax()(logits, torch.tensor([[[0, 1, 255]]])).loss
        tensor(0.5000)
    """

    def __call__(self, logits: Tensor, label: Tensor) -> LossValue:
        """Compute the loss of a batch.

        Args:
            logits: (B, C, h, w), any floating type; the only input with gradient. Computed in float32.
            label: int64 (B, H, W), class index or 255 = ignored.

        Returns:
            The loss, in [0, 1]; 0 with zero gradient if every pixel is ignored. The divisor is the number of images
            with a label. No logs.
        """
        probability = upsample(logits, (label.shape[-2], label.shape[-1])).softmax(dim=1)
        truth, valid = class_maps(label, probability)
        of_classes = torch.stack([_of_image(*each) for each in zip(probability, truth, valid, strict=True)])
        present = truth.amax(dim=(2, 3)) > 0
        labelled = present.any(dim=1)
        return LossValue(masked_mean(mean_over_present(of_classes, present), labelled), {}, labelled.sum())


def _of_image(probability: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """The loss of each class (C,) of one image, from maps (C, H, W) and bool (H, W)."""
    errors = (truth - probability).abs().masked_fill(~valid, -1.0)  # ignored pixels come last
    ordered, order = errors.flatten(1).sort(dim=1, descending=True, stable=True)
    sorted_truth = truth.flatten(1).gather(1, order)
    total = sorted_truth.sum(dim=1, keepdim=True)
    found = sorted_truth.cumsum(dim=1)
    place = torch.arange(1, order.shape[1] + 1, device=order.device)
    jaccard = 1 - (total - found) / (total + place - found).clamp(min=1)
    steps = torch.cat([jaccard[:, :1], jaccard.diff(dim=1)], dim=1)
    return (ordered.clamp(min=0) * steps).sum(dim=1)
