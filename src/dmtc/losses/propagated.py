"""Cross-entropy with labels that have spread over regions of alike pixels (CorrMatch)."""

from torch import Tensor, nn
from torch.nn import functional

from dmtc.core.types import IGNORE_INDEX, LossValue, Together
from dmtc.losses.base import LOSSES, masked_mean, require, upsample
from dmtc.losses.propagation import propagated
from dmtc.losses.selected import divided
from dmtc.losses.selection import Pixels
from dmtc.losses.selection.running_threshold import RunningThreshold


@LOSSES.register("propagated_cross_entropy")
class PropagatedCrossEntropy(nn.Module):
    """Cross-entropy with the teacher's labels where these are sure, and where a region of alike pixels is nearly sure.

    The threshold follows the teacher's highest confidences, see `RunningThreshold`; the regions take labels by the same
    threshold, see `propagated`. The sum is divided by the number of pixels that are not ignored.

    Args:
        start: Threshold before the first step, in [0, 1].
        momentum: Of the threshold, in [0, 1].
        num_regions: Regions of each image, from randomly drawn cells; at least 1.

    In YAML:

        name: propagated_cross_entropy
        start: 0.85
        momentum: 0.999
        num_regions: 128

    Source: CorrMatch (Sun et al., CVPR 2024), sections 3.2 and 3.3; deviation: each term has a threshold of its own, of
    the labels that it learns from.
    """

    def __init__(self, *, start: float, momentum: float, num_regions: int) -> None:
        super().__init__()
        self.num_regions = self.regions = num_regions
        require(num_regions >= 1, self, "num_regions", "at least 1")
        self.selection = RunningThreshold(start=start, momentum=momentum)

    def forward(
        self,
        logits: Tensor,
        label: Tensor,
        confidence: Tensor,
        regions: Tensor | None = None,
        processes: Together | None = None,
    ) -> LossValue:
        """Compute the loss of the rows of a batch that a teacher labelled.

        Args:
            logits: The student's (B, C, h, w), any floating type; the only input with gradient.
            label: int64 (B, H, W), pseudo-label or 255 = ignored.
            confidence: (B, H, W) in [0, 1], the teacher's probability of the pseudo-label.
            regions: Bool (B, R, H, W), in the order in which they count; None for no regions.
            processes: Those with the other rows of the batch; None for a single process.

        Returns:
            The loss in nats; 0 with zero gradient if nothing is learned. Logs `kept`, the share of the pixels not
            ignored that is learned, `sure`, the share that was sure before, and `threshold`.
        """
        pixels = Pixels(label, confidence, logits.shape[1], processes=processes)
        valid, sure = pixels.valid, self.selection(pixels) & pixels.valid
        threshold, reached = self.selection.threshold, sure
        if regions is not None:
            label, reached = propagated(label, sure, regions, threshold, logits.shape[1])
        full = upsample(logits, (label.shape[-2], label.shape[-1]))
        per_pixel = functional.cross_entropy(full, label, ignore_index=IGNORE_INDEX, reduction="none")
        loss, number = divided(per_pixel, reached.float(), valid, "valid", pixels)
        logs = {"kept": masked_mean(reached.float(), valid), "sure": masked_mean(sure.float(), valid)}
        return LossValue(loss, logs | {"threshold": threshold.detach().clone()}, number)
