"""Losses that compare the student's probabilities with the teacher's, class by class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX, LossValue, Together
from dmtc.losses.base import LOSSES, upsample
from dmtc.losses.selected import SelectedLoss
from dmtc.losses.selection import Pixels


@LOSSES.register("mean_squared_error")
@dataclass(frozen=True, kw_only=True)
class MeanSquaredError:
    """Mean squared difference of the student's and the teacher's probabilities.

    Args:
        divisor: `valid`, the mean is over the pixels that are not ignored; `all`, the sum over all pixels, ignored ones
            included, is divided by their number.

    In YAML:

        name: mean_squared_error
        divisor: all

    Source: mean teacher (Tarvainen and Valpola, NeurIPS 2017), in the form of the code of cross pseudo supervision,
    which weights it by 100 and divides by `all`; deviation: none for `all`.

    Examples:
        >>> import torch
        >>> from dmtc.losses import MeanSquaredError
        >>> logits, teacher = torch.zeros(1, 2, 1, 1), torch.tensor([[[[100.0]], [[0.0]]]])
        >>> value = MeanSquaredError(divisor="valid")(logits, torch.tensor([[[0]]]), teacher)
        >>> value.loss.item()  # of 0.5 and 1, and of 0.5 and 0
        0.25
    """

    divisor: Literal["valid", "all"]

    needs = frozenset({"teacher_logits"})

    def __call__(self, logits: Tensor, label: Tensor, teacher_logits: Tensor) -> LossValue:
        """Compute the loss of a batch.

        Args:
            logits: The student's (B, C, h, w), any floating type; the only input with gradient.
            label: int64 (B, H, W); read only for where it is 255 = ignored.
            teacher_logits: (B, C, H, W), or (B, C, h, w) of any size.

        Returns:
            The loss, the mean over the classes; 0 with zero gradient if there is no pixel to count. No logs.
        """
        size = (label.shape[-2], label.shape[-1])
        student = upsample(logits, size).softmax(dim=1)
        teacher = upsample(teacher_logits.detach(), size).softmax(dim=1)
        per_pixel = (student - teacher).square().mean(dim=1)
        valid = torch.ones_like(label, dtype=torch.bool) if self.divisor == "all" else label != IGNORE_INDEX
        number = valid.sum()
        return LossValue(per_pixel.where(valid, 0).sum() / number.clamp(min=1), {}, number)


@LOSSES.register("kl_divergence")
class KLDivergence(SelectedLoss):
    """Divergence of the student's probabilities from the teacher's, sum p log(p / q), on the pixels that are selected.

    Args:
        selection: `name` and options of one of `dmtc.losses.selection.SELECTIONS`; it sees the confidence and the
            label of the step.
        divisor: As in `SelectedCrossEntropy`, but for `ce_positive`.

    In YAML:

        name: kl_divergence
        selection: {name: running_threshold, start: 0.85, momentum: 0.999}
        divisor: valid

    Source: CorrMatch (Sun et al., CVPR 2024), its soft supervision, section 3.2; deviation: the teacher's probabilities
    are of the same pixels as the student's, while its code compares mixed images with images before mixing.

    Examples:
        >>> import torch
        >>> from dmtc.losses import KLDivergence
        >>> logits, teacher = torch.zeros(1, 2, 1, 1), torch.tensor([[[[100.0]], [[0.0]]]])
        >>> loss = KLDivergence(selection={"name": "everything"}, divisor="valid")
        >>> round(loss(logits, torch.tensor([[[0]]]), torch.ones(1, 1, 1), teacher).loss.item(), 4)  # log 2
        0.6931
    """

    def __init__(
        self, *, selection: Mapping[str, Any], divisor: Literal["valid", "all", "kept", "kept_rescaled"]
    ) -> None:
        super().__init__(selection, divisor)
        self.needs = self.needs | {"teacher_logits"}

    def forward(
        self,
        logits: Tensor,
        label: Tensor,
        confidence: Tensor,
        teacher_logits: Tensor,
        entropy: Tensor | None = None,
        progress: float = 0.0,
        processes: Together | None = None,
    ) -> LossValue:
        """Compute the loss of the rows of a batch that a teacher labelled.

        Args:
            logits: The student's (B, C, h, w), any floating type; the only input with gradient.
            label: int64 (B, H, W), pseudo-label or 255 = ignored.
            confidence: (B, H, W) in [0, 1], the teacher's probability of the pseudo-label.
            teacher_logits: (B, C, H, W), or (B, C, h, w) of any size.
            entropy: As in `SelectedCrossEntropy`, as are the other arguments.
            progress: The done share of the phase, in [0, 1).
            processes: Those with the other rows of the batch; None for a single process.

        Returns:
            The loss in nats; 0 with zero gradient if nothing is selected. Logs `kept` and `confidence`, as
            `SelectedCrossEntropy`.
        """
        size = (label.shape[-2], label.shape[-1])
        student = upsample(logits, size).log_softmax(dim=1)
        teacher = upsample(teacher_logits.detach(), size).log_softmax(dim=1)
        per_pixel = (teacher.exp() * (teacher - student)).sum(dim=1)
        return self.value(per_pixel, Pixels(label, confidence, logits.shape[1], entropy, progress, processes))
