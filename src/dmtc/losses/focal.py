"""Focal loss: cross-entropy that counts less where the network is already right."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX, LossValue
from dmtc.losses.base import LOSSES, masked_mean, require, upsample


@LOSSES.register("focal")
@dataclass(frozen=True, kw_only=True)
class Focal:
    """Mean of -(1 - p)^gamma log p over the pixels that are not ignored; p is the probability of the label.

    Args:
        gamma: At least 0; 0 is cross-entropy, 2 the published value.

    In YAML:

        name: focal
        gamma: 2.0

    Source: Lin et al. (ICCV 2017), equation 4. Deviations: p is of the softmax over all classes, where theirs is of a
    sigmoid for each class; the mean is over all pixels, where theirs divides by the number of foreground anchors.

    Examples:
        >>> import torch
        >>> from dmtc.losses import Focal
        >>> logits = torch.tensor([[[[2.0, 0.0]], [[0.0, 0.0]]]])  # one image of two pixels, two classes
        >>> label = torch.tensor([[[0, 255]]])  # the second pixel is ignored
        >>> round(Focal(gamma=2.0)(logits, label).loss.item(), 5)  # (1 - 0.8808)^2 * 0.1269
        0.0018
    """

    gamma: float

    def __post_init__(self) -> None:
        require(self.gamma >= 0, self, "gamma", "at least 0")

    def __call__(self, logits: Tensor, label: Tensor) -> LossValue:
        """Compute the loss of a batch.

        Args:
            logits: (B, C, h, w), any floating type; the only input with gradient. Computed in float32.
            label: int64 (B, H, W), class index or 255 = ignored.

        Returns:
            The loss in nats per pixel; 0 with zero gradient if every pixel is ignored. No logs.
        """
        size = (label.shape[-2], label.shape[-1])
        log_p = -F.cross_entropy(upsample(logits, size), label, ignore_index=IGNORE_INDEX, reduction="none")
        # The power has no finite slope at 0 if gamma is below 1.
        missing = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
        return LossValue(masked_mean(-(missing**self.gamma) * log_p, label != IGNORE_INDEX))
