"""Losses on selected pixels: a `selection` weights them, a `divisor` says what their sum is divided by."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmtc.core.types import IGNORE_INDEX, LossValue, Together
from dmtc.losses.base import LOSSES, masked_mean, upsample
from dmtc.losses.selection import SELECTIONS, Pixels

Divisor = Literal["valid", "all", "kept", "kept_rescaled", "ce_positive"]
"""What a sum over pixels is divided by: the number of pixels that are not ignored; of all pixels; of those of a weight
above 0; the same, and then the mean is multiplied by the number of all pixels by that of the kept ones; or the number
of pixels with a positive loss."""


class SelectedLoss(nn.Module):
    """A loss per pixel, weighted by a selection; the base class of the losses on selected pixels.

    Args:
        selection: `name` and options of one of `SELECTIONS`.
        divisor: See `Divisor`.

    Attributes:
        needs: The optional inputs of a step that it reads, such as "entropy".
    """

    def __init__(self, selection: Mapping[str, Any], divisor: Divisor) -> None:
        super().__init__()
        self.divisor: Divisor = divisor
        self.selection = SELECTIONS.build(selection, "selection")
        self.needs = self.selection.needs

    @staticmethod
    def nested_faults(arguments: Mapping[str, Any], where: str) -> list[str]:
        """The errors in the selection's spec, for the registry."""
        return SELECTIONS.faults(arguments["selection"], f"{where}.selection")

    def value(self, per_pixel: Tensor, pixels: Pixels) -> LossValue:
        """The loss of a batch from the loss of every pixel, (B, H, W) with gradient.

        Logs `kept`, the mean weight over the pixels that are not ignored, and `confidence`, the mean there.
        """
        valid = pixels.valid
        weight = self.selection(pixels).detach()
        logs = {
            "kept": masked_mean(weight.float(), valid),
            "confidence": masked_mean(pixels.confidence.detach().float(), valid),
        }
        loss, number = divided(per_pixel, weight * valid, valid, self.divisor, pixels)
        return LossValue(loss, logs, number)


def divided(
    per_pixel: Tensor, weight: Tensor, valid: Tensor, divisor: Divisor, pixels: Pixels
) -> tuple[Tensor, Tensor]:
    """The weighted sum of a loss over pixels, divided; 0 with zero gradient if there is nothing to divide by.

    Args:
        per_pixel: (B, H, W) with gradient.
        weight: (B, H, W) without gradient, 0 where ignored.
        valid: Bool (B, H, W).
        divisor: See `Divisor`.
        pixels: For the numbers of the other processes.

    Returns:
        The loss and what it was divided by, an integer scalar on the device.
    """
    match divisor:
        case "valid":
            number = valid.sum()
        case "all":
            number = torch.full((), valid.numel(), device=valid.device)
        case "kept" | "kept_rescaled":
            number = (weight > 0).sum()
        case "ce_positive":
            number = ((per_pixel.detach() > 0) & valid).sum()
    loss = (weight * per_pixel.where(weight > 0, 0)).sum() / number.clamp(min=1)
    if divisor == "kept_rescaled":
        counts = pixels.summed(torch.stack([torch.full_like(number, valid.numel()), number]))
        loss = loss * (counts[0] / counts[1].clamp(min=1))
    return loss, number


@LOSSES.register("selected_cross_entropy")
class SelectedCrossEntropy(SelectedLoss):
    """Cross-entropy with the teacher's labels, on the pixels that a selection takes.

    Args:
        selection: `name` and options of one of `dmtc.losses.selection.SELECTIONS`.
        divisor: What the weighted sum is divided by: `valid`, the number of pixels that are not ignored, taken or not
            (FixMatch, UniMatch, CorrMatch, PrevMatch); `all`, of all pixels (AugSeg, CPS); `kept`, of those of a weight
            above 0; `kept_rescaled`, as `kept`, and the mean is multiplied by the number of all pixels by that of the
            kept ones (U2PL); `ce_positive`, of those of a positive cross-entropy (ReCo).

    In YAML:

        name: selected_cross_entropy
        selection: {name: threshold, threshold: 0.95}
        divisor: valid

    Source: the unlabelled terms of the methods named above, by their code; deviation: 0 where theirs divide by 0.

    Examples:
        The second pixel is not confident, the third is ignored:

        >>> import torch
        >>> from dmtc.losses import SelectedCrossEntropy
        >>> logits = torch.tensor([[[[2.0, 3.0, 0.0]], [[0.0, 0.0, 0.0]]]])
        >>> label, confidence = torch.tensor([[[0, 1, 255]]]), torch.tensor([[[0.99, 0.6, 0.99]]])
        >>> loss = SelectedCrossEntropy(selection={"name": "threshold", "threshold": 0.95}, divisor="valid")
        >>> value = loss(logits, label, confidence)
        >>> round(value.loss.item(), 4), value.logs["kept"].item(), value.divisor.item()
        (0.0635, 0.5, 2)
    """

    def __init__(self, *, selection: Mapping[str, Any], divisor: Divisor) -> None:
        super().__init__(selection, divisor)

    def forward(
        self,
        logits: Tensor,
        label: Tensor,
        confidence: Tensor,
        entropy: Tensor | None = None,
        progress: float = 0.0,
        processes: Together | None = None,
    ) -> LossValue:
        """Compute the loss of the rows of a batch that a teacher labelled.

        Args:
            logits: The student's (B, C, h, w), any floating type; the only input with gradient.
            label: int64 (B, H, W), pseudo-label or 255 = ignored.
            confidence: (B, H, W) in [0, 1], the teacher's probability of the pseudo-label.
            entropy: (B, H, W), in nats, of the teacher's probabilities; for selections that need it.
            progress: The done share of the phase, in [0, 1).
            processes: Those with the other rows of the batch; None for a single process.

        Returns:
            The loss in nats; 0 with zero gradient if nothing is selected. Logs `kept`, the share of the pixels not
            ignored that is selected (their mean weight), and `confidence`, the mean over them.

        Raises:
            ConfigError: The selection needs the entropy, and there is none.
        """
        pixels = Pixels(label, confidence, logits.shape[1], entropy, progress, processes)
        full = upsample(logits, (label.shape[-2], label.shape[-1]))
        return self.value(F.cross_entropy(full, label, ignore_index=IGNORE_INDEX, reduction="none"), pixels)
