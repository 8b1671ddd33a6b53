"""A threshold of confidence that follows the teacher's most confident pixels."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from dmtc.losses.base import require
from dmtc.losses.selection.base import SELECTIONS, Pixels


@SELECTIONS.register("running_threshold")
class RunningThreshold(nn.Module):
    """Pixels whose confidence is at least a threshold that is a running mean over the steps.

    Before it selects, each call moves the threshold: t to m t + (1 - m) n, where n is the mean over the classes of the
    batch of the class's highest confidence. A call without a valid pixel leaves it. The state is a buffer, so that it
    is in checkpoints; with several processes it is the same in all of them.

    Args:
        start: Threshold before the first call, in [0, 1].
        momentum: m, in [0, 1].

    Source: CorrMatch (Sun et al., CVPR 2024), section 3.3, with 0.85 and 0.999; deviations: it sees the labels of the
    rows that it selects from, so where regions are pasted it sees the pasted ones, and it is of the whole batch.

    Examples:
        >>> import torch
        >>> label, confidence = torch.tensor([[[0, 0, 1]]]), torch.tensor([[[0.7, 0.9, 0.5]]])
        >>> selection = RunningThreshold(start=0.9, momentum=0.5)
        >>> selection(Pixels(label, confidence, num_classes=2)), selection.threshold  # (0.9 + (0.9 + 0.5) / 2) / 2
        (tensor([[[False,  True, False]]]), tensor(0.8000))
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    threshold: Tensor

    def __init__(self, *, start: float, momentum: float) -> None:
        super().__init__()
        self.start, self.momentum = start, momentum
        require(0 <= start <= 1, self, "start", "in [0, 1]")
        require(0 <= momentum <= 1, self, "momentum", "in [0, 1]")
        self.register_buffer("threshold", torch.tensor(float(start)))

    @torch.no_grad()
    def forward(self, pixels: Pixels) -> Tensor:
        """Bool (B, H, W)."""
        highest = pixels.gathered(highest_confidences(pixels)[None]).amax(0)
        present = highest >= 0
        mean = highest.where(present, 0).sum() / present.sum().clamp(min=1)
        before = self.threshold.to(mean.device)
        after = self.momentum * before + (1 - self.momentum) * mean
        self.threshold = after.where(present.any(), before)
        return pixels.confidence >= self.threshold


def highest_confidences(pixels: Pixels) -> Tensor:
    """The highest confidence of each class in these rows: float32 (C), -1 for a class without pixels."""
    row = pixels.label.where(pixels.valid, pixels.num_classes).flatten()
    start = torch.full((pixels.num_classes + 1,), -1.0, device=row.device)
    return start.scatter_reduce(0, row, pixels.confidence.float().flatten(), "amax")[:-1]
