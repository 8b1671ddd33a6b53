"""Losses on pseudo-labels: a weighted cross-entropy, and the rules for its weights.

The teacher provides a pseudo-label and its confidence, the student its own probabilities. A rule turns these into a
target and a weight for every pixel of pseudo-labelled images; pixels of labelled images keep their label and weight 1.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX, LossValue
from dmtc.losses.base import LOSSES, masked_mean, require, upsample


@dataclass(frozen=True)
class Predictions:
    """Teacher and student predictions for every pixel, without gradient; each (B, H, W).

    Attributes:
        label: int64, the pseudo-label, or 255 = ignored.
        teacher_confidence: The teacher's probability of the pseudo-label.
        log_probability: The student's log-probability of the pseudo-label; 0 where ignored.
        student_label: int64, the student's most probable class.
        student_confidence: The student's probability of that class.
    """

    label: Tensor
    teacher_confidence: Tensor
    log_probability: Tensor
    student_label: Tensor
    student_confidence: Tensor

    @property
    def disagree(self) -> Tensor:
        """Bool, true where the student predicts another class; false in ignored pixels."""
        return (self.student_label != self.label) & (self.label != IGNORE_INDEX)

    @property
    def student_wins(self) -> Tensor:
        """Bool, true where the student disagrees and is more confident than the teacher."""
        return self.disagree & (self.student_confidence > self.teacher_confidence)

    def power(self, gamma: float) -> Tensor:
        """The student's probability of the pseudo-label to the power of gamma."""
        # From the logarithm, so that a probability that underflows still gets the right power.
        return (gamma * self.log_probability).exp()


class PseudoLabelLoss(ABC):
    """Cross-entropy with a weight per pixel; the base class of the losses in this file."""

    def __call__(self, logits: Tensor, label: Tensor, confidence: Tensor, is_pseudo: Tensor) -> LossValue:
        """Compute the loss of a batch of labelled and pseudo-labelled images, in any order.

        Args:
            logits: The student's (B, C, h, w), any floating type; the only input with gradient. Weights carry none.
            label: int64 (B, H, W), label or pseudo-label; class index or 255 = ignored.
            confidence: (B, H, W) in [0, 1], the teacher's probability of the pseudo-label; unused in labelled images.
            is_pseudo: bool (B,), true where the label is a pseudo-label.

        Returns:
            The loss in nats: the weighted sum over all pixels that are not ignored, divided by their number, which
            includes pixels of weight 0. 0 with zero gradient if every pixel is ignored. Logs `disagree` and
            `student_wins`, shares in [0, 1] of the pseudo-labelled pixels; `mean_weight` and `cross_entropy`, the
            means over all pixels of the weight and of the unweighted cross-entropy.
        """
        log_probabilities = upsample(logits, (label.shape[-2], label.shape[-1])).log_softmax(dim=1)
        predictions = _predictions(log_probabilities.detach(), label, confidence)
        target, weight = self.rule(predictions)

        pseudo = is_pseudo[:, None, None].expand_as(label)
        target, weight = target.where(pseudo, label), weight.where(pseudo, 1)
        per_pixel = F.nll_loss(log_probabilities, target, ignore_index=IGNORE_INDEX, reduction="none")
        counted, pseudo_labelled = target != IGNORE_INDEX, pseudo & (label != IGNORE_INDEX)
        logs = {
            "disagree": masked_mean(predictions.disagree.float(), pseudo_labelled),
            "student_wins": masked_mean(predictions.student_wins.float(), pseudo_labelled),
            "mean_weight": masked_mean(weight, counted),
            "cross_entropy": masked_mean(per_pixel.detach(), counted),
        }
        return LossValue(masked_mean(weight * per_pixel, counted), logs)

    def pixel_weights(self, logits: Tensor, label: Tensor, confidence: Tensor) -> Tensor:
        """The weight of every pixel, assuming that all images are pseudo-labelled.

        Args:
            logits: As in `__call__`.
            label: int64 (B, H, W).
            confidence: (B, H, W).

        Returns:
            Float (B, H, W) without gradient, at least 0, and 0 where there is no target.
        """
        log_probabilities = upsample(logits.detach(), (label.shape[-2], label.shape[-1])).log_softmax(dim=1)
        target, weight = self.rule(_predictions(log_probabilities, label, confidence))
        return weight.masked_fill(target == IGNORE_INDEX, 0)

    @abstractmethod
    def rule(self, predictions: Predictions) -> tuple[Tensor, Tensor]:
        """Target, int64 (B, H, W) with 255 = ignored, and weight, (B, H, W), as if every pixel were pseudo-labelled."""


@LOSSES.register("dynamic_mutual")
@dataclass(frozen=True, kw_only=True)
class DynamicMutualLoss(PseudoLabelLoss):
    """Weight by agreement: p^gamma_agree, p^gamma_disagree, or 0 where the student disagrees and is more confident.

    Here p is the student's probability of the pseudo-label.

    Args:
        gamma_agree: Exponent where the student agrees with the pseudo-label, at least 0; the larger, the less is
            learned from pixels that the student is uncertain about.
        gamma_disagree: Exponent where the student predicts another class but is no more confident than the teacher,
            at least 0.

    Source: DMT (Feng et al., Pattern Recognition 2022), the dynamic weight of section 3; deviation: none. As published,
    setting both gammas to 0 means plain cross-entropy, without the zero weight where the student wins; for the limit
    of the rule, set a tiny gamma such as 1e-9.

    Examples:
        A student that predicts class 0 for both of two pixels:

        >>> import torch
        >>> from dmtc.losses import DynamicMutualLoss
        >>> logits = torch.tensor([[[[2.0, 3.0]], [[0.0, 0.0]]]])
        >>> label = torch.tensor([[[0, 1]]])  # the teacher agrees on the first pixel only
        >>> confidence = torch.tensor([[[0.9, 0.6]]])  # on the second, the student's confidence is 0.95
        >>> loss = DynamicMutualLoss(gamma_agree=5, gamma_disagree=5)
        >>> value = loss(logits, label, confidence, is_pseudo=torch.tensor([True]))
        >>> round(value.loss.item(), 4), value.logs["student_wins"].item()
        (0.0336, 0.5)
    """

    gamma_agree: float
    gamma_disagree: float

    def __post_init__(self) -> None:
        require(self.gamma_agree >= 0, self, "gamma_agree", "at least 0")
        require(self.gamma_disagree >= 0, self, "gamma_disagree", "at least 0")

    def rule(self, predictions: Predictions) -> tuple[Tensor, Tensor]:
        """Keep the pseudo-label; weight 0 where the student wins."""
        if self.gamma_agree == self.gamma_disagree == 0:
            return predictions.label, torch.ones_like(predictions.log_probability)
        weight = predictions.power(self.gamma_disagree).where(predictions.disagree, predictions.power(self.gamma_agree))
        return predictions.label, weight.masked_fill(predictions.student_wins, 0)


@LOSSES.register("flip")
@dataclass(frozen=True, kw_only=True)
class FlipLoss(DynamicMutualLoss):
    """Like `DynamicMutualLoss`, but where the student wins, it learns its own class, weighted by the teacher's doubt.

    There, the target is the student's most probable class and the weight is (1 - teacher's confidence)^gamma_disagree.

    Args:
        gamma_agree: As in `DynamicMutualLoss`.
        gamma_disagree: As in `DynamicMutualLoss`; also the exponent of the teacher's doubt.

    Source: DMT's ablation "flip"; deviation: none. As published, both gammas at 0 mean plain cross-entropy, no flips.

    Examples:
        As with `DynamicMutualLoss`, but the target of the second pixel is class 0:

        >>> import torch
        >>> from dmtc.losses import FlipLoss
        >>> logits = torch.tensor([[[[2.0, 3.0]], [[0.0, 0.0]]]])
        >>> label, confidence = torch.tensor([[[0, 1]]]), torch.tensor([[[0.9, 0.6]]])
        >>> loss = FlipLoss(gamma_agree=5, gamma_disagree=5)
        >>> round(loss(logits, label, confidence, is_pseudo=torch.tensor([True])).loss.item(), 4)
        0.0339
    """

    def rule(self, predictions: Predictions) -> tuple[Tensor, Tensor]:
        """Use the student's own class where it wins."""
        label, weight = super().rule(predictions)
        if self.gamma_agree == self.gamma_disagree == 0:
            return label, weight
        doubt = (1 - predictions.teacher_confidence).to(weight.dtype) ** self.gamma_disagree
        return (
            predictions.student_label.where(predictions.student_wins, label),
            doubt.where(predictions.student_wins, weight),
        )


@LOSSES.register("dst")
@LOSSES.register("naive")
@dataclass(frozen=True, kw_only=True)
class DynamicSelfLoss(PseudoLabelLoss):
    """Weight by the student's probability p of the pseudo-label alone: p^gamma, whether it agrees or not.

    With one network, this is dynamic self-training ("dst"); with two networks, DMT's ablation "naive".

    Args:
        gamma: Exponent, at least 0; 0 means plain cross-entropy.

    Source: DST (Feng et al., "Semi-Supervised Semantic Segmentation via Dynamic Self-Training and Class-Balanced
    Curriculum", 2020) and DMT's ablation, which fixes gamma at 5; deviation: none.

    Examples:
        >>> import torch
        >>> from dmtc.losses import DynamicSelfLoss
        >>> logits = torch.tensor([[[[2.0, 3.0]], [[0.0, 0.0]]]])
        >>> label, confidence = torch.tensor([[[0, 1]]]), torch.tensor([[[0.9, 0.6]]])
        >>> value = DynamicSelfLoss(gamma=5)(logits, label, confidence, is_pseudo=torch.tensor([True]))
        >>> round(value.loss.item(), 4), round(value.logs["mean_weight"].item(), 4)
        (0.0336, 0.2651)
    """

    gamma: float

    def __post_init__(self) -> None:
        require(self.gamma >= 0, self, "gamma", "at least 0")

    def rule(self, predictions: Predictions) -> tuple[Tensor, Tensor]:
        """Keep the pseudo-label."""
        return predictions.label, predictions.power(self.gamma)


@LOSSES.register("online")
@dataclass(frozen=True, kw_only=True)
class OnlineLoss(PseudoLabelLoss):
    """The student makes its own pseudo-labels at every step, where it is confident; stored pseudo-labels are not used.

    Args:
        threshold: In [0, 1]; a pixel is learned if the student's confidence is above it.

    Source: DMT's ablation "online", threshold 0.9; deviation: none. The divisor is the number of pixels learned.
    Ignored pixels of pseudo-labelled images get labels as well, and so does the padding of their crops, which looks
    the same.

    Examples:
        >>> import torch
        >>> from dmtc.losses import OnlineLoss
        >>> logits = torch.tensor([[[[2.0, 3.0]], [[0.0, 0.0]]]])  # confidence 0.88 and 0.95
        >>> label, confidence = torch.tensor([[[0, 1]]]), torch.tensor([[[0.9, 0.6]]])
        >>> value = OnlineLoss(threshold=0.9)(logits, label, confidence, is_pseudo=torch.tensor([True]))
        >>> round(value.loss.item(), 4)
        0.0486
    """

    threshold: float

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, self, "threshold", "in [0, 1]")

    def rule(self, predictions: Predictions) -> tuple[Tensor, Tensor]:
        """Use the student's own class where it is confident."""
        confident = predictions.student_confidence > self.threshold
        weight = torch.ones_like(predictions.student_confidence)
        return predictions.student_label.where(confident, IGNORE_INDEX), weight


def _predictions(log_probabilities: Tensor, label: Tensor, confidence: Tensor) -> Predictions:
    log_confidence, student_label = log_probabilities.max(dim=1)
    log_probability = -F.nll_loss(log_probabilities, label, ignore_index=IGNORE_INDEX, reduction="none")
    return Predictions(label, confidence.detach(), log_probability, student_label, log_confidence.exp())
