"""Dice loss: the overlap of every class, however few pixels it has."""

from dataclasses import dataclass

from torch import Tensor

from dmtc.core.types import LossValue
from dmtc.losses.base import LOSSES, masked_mean, require, upsample
from dmtc.losses.overlap import class_maps, mean_over_present


@LOSSES.register("dice")
@dataclass(frozen=True, kw_only=True)
class Dice:
    """One minus the soft Dice score of each class, averaged over the classes of an image, then over the images.

    The score of class c in an image is (2 sum p_c y_c + s) / (sum p_c + sum y_c + s), where p is the softmax
    probability, y is 1 in the pixels of the class and 0 elsewhere, and both sums are over the pixels that are not
    ignored. Classes without a pixel in the image's label are left out.

    Args:
        smooth: s, in pixels; at least 0. It softens the loss of classes with about as few pixels.

    In YAML:

        name: dice
        smooth: 1.0

    Source: Drozdzal et al. 2016 (The importance of skip connections in biomedical image segmentation, section 2), after
    Milletari et al. 2016 (V-Net), whose denominator has squares. Deviations: several classes; per image rather than
    per batch, so that neither the batch size nor the number of processes changes what is minimized.

    Examples:
        >>> import torch
        >>> from dmtc.losses import Dice
        >>> logits = torch.zeros(1, 2, 1, 4)  # one image of four pixels, two classes, each of probability 0.5
        >>> label = torch.tensor([[[0, 0, 1, 255]]])
        >>> value = Dice(smooth=0.0)(logits, label)  # scores 2 * 1 / (1.5 + 2) and 2 * 0.5 / (1.5 + 1)
        >>> round(value.loss.item(), 4), value.divisor.item()
        (0.5143, 1)
    """

    smooth: float

    def __post_init__(self) -> None:
        require(self.smooth >= 0, self, "smooth", "at least 0")

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
        overlap = (probability * truth).sum(dim=(2, 3))
        size = (probability * valid[:, None] + truth).sum(dim=(2, 3))
        present = truth.amax(dim=(2, 3)) > 0
        score = (2 * overlap + self.smooth) / (size + self.smooth).where(present, 1)
        labelled = present.any(dim=1)
        return LossValue(masked_mean(mean_over_present(1 - score, present), labelled), {}, labelled.sum())
