"""Cross-entropy on the hardest pixels of the labelled images."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX, LossValue, Together
from dmtc.losses.base import LOSSES, masked_mean, require, upsample
from dmtc.losses.selection.base import smallest


@LOSSES.register("ohem")
@dataclass(frozen=True, kw_only=True)
class HardPixelCrossEntropy:
    """Mean cross-entropy over the pixels whose probability of their label is low (online hard example mining).

    A pixel is kept if this probability is at most the threshold, or at most the `min_kept`-th smallest of the whole
    batch, ignored pixels counted as probability 1.

    Args:
        threshold: In (0, 1).
        min_kept: Number of pixels of the whole batch that are kept at least, as long as there are that many; at least
            1. Published numbers are for the images of one GPU: with n of them, set n times as many.

    In YAML:

        name: ohem
        threshold: 0.7
        min_kept: 200000

    Source: Shrivastava et al. (CVPR 2016), in the form of the Cityscapes runs of UniMatch, U2PL, AugSeg and CPS, 0.7
    with 50,000 to 200,000; deviation: the number is of the batch of all processes, and a batch without labelled pixels
    gives 0.

    Examples:
        >>> import torch
        >>> from dmtc.losses import HardPixelCrossEntropy
        >>> logits = torch.tensor([[[[2.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]]])
        >>> label = torch.tensor([[[0, 1, 255]]])  # the first pixel is learned already
        >>> value = HardPixelCrossEntropy(threshold=0.7, min_kept=1)(logits, label)
        >>> round(value.loss.item(), 4), value.logs["hard"].item()
        (0.6931, 0.5)
    """

    threshold: float
    min_kept: int

    def __post_init__(self) -> None:
        require(0 < self.threshold < 1, self, "threshold", "above 0 and below 1")
        require(self.min_kept >= 1, self, "min_kept", "at least 1")

    def __call__(self, logits: Tensor, label: Tensor, processes: Together | None = None) -> LossValue:
        """Compute the loss of a batch.

        Args:
            logits: (B, C, h, w), any floating type; the only input with gradient.
            label: int64 (B, H, W), class index or 255 = ignored.
            processes: Those with the other rows of the batch; None for a single process.

        Returns:
            The loss in nats per kept pixel; 0 with zero gradient if every pixel is ignored. Logs `hard`, the share of
            kept pixels among those not ignored.
        """
        size = (label.shape[-2], label.shape[-1])
        per_pixel = F.cross_entropy(upsample(logits, size), label, ignore_index=IGNORE_INDEX, reduction="none")
        valid = label != IGNORE_INDEX
        probability = per_pixel.detach().neg().exp()  # 1 where ignored
        every = probability if processes is None else processes.gather_rows(probability)
        place = torch.tensor(min(self.min_kept, every.numel()) - 1)
        limit = smallest(every, place).clamp(min=self.threshold)
        kept = valid & (probability <= limit)
        return LossValue(masked_mean(per_pixel, kept), {"hard": masked_mean(kept.float(), valid)}, kept.sum())
