"""Plain cross-entropy, for labelled images and for pseudo-labels taken as hard labels (CBST)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX, LossValue
from dmtc.losses.base import LOSSES, masked_mean, upsample


@LOSSES.register("cross_entropy")
@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """Mean cross-entropy over the pixels that are not ignored.

    Source: the standard loss of semantic segmentation; deviation: a batch without labelled pixels gives 0, not NaN.

    Examples:
        >>> import torch
        >>> from dmtc.losses import CrossEntropy
        >>> logits = torch.tensor([[[[2.0, 0.0]], [[0.0, 0.0]]]])  # one image of two pixels, two classes
        >>> label = torch.tensor([[[0, 255]]])  # the second pixel is ignored
        >>> round(CrossEntropy()(logits, label).loss.item(), 4)
        0.1269
    """

    def __call__(self, logits: Tensor, label: Tensor) -> LossValue:
        """Compute the loss of a batch.

        Args:
            logits: (B, C, h, w), any floating type; the only input with gradient.
            label: int64 (B, H, W), class index or 255 = ignored.

        Returns:
            The loss in nats per pixel; 0 with zero gradient if every pixel is ignored. No logs.
        """
        size = (label.shape[-2], label.shape[-1])
        per_pixel = F.cross_entropy(upsample(logits, size), label, ignore_index=IGNORE_INDEX, reduction="none")
        return LossValue(masked_mean(per_pixel, label != IGNORE_INDEX))
