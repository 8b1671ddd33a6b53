"""Cross-entropy with label smoothing, and with a weight for each class."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX, LossValue
from dmtc.losses.base import LOSSES, masked_mean, require, upsample
from dmtc.losses.class_weights import LabelledClasses, WeightRule, weights_by_rule, weights_given


@LOSSES.register("smoothed_cross_entropy")
@dataclass(frozen=True, kw_only=True)
class SmoothedCrossEntropy:
    """Mean cross-entropy with the target (1 - s) on the label and s / C on every class.

    Args:
        label_smoothing: s, in [0, 1); 0 is cross-entropy.

    In YAML:

        name: smoothed_cross_entropy
        label_smoothing: 0.1

    Source: Szegedy et al. (CVPR 2016), section 7, as in `torch.nn.functional.cross_entropy`; deviation: a batch without
    labelled pixels gives 0, not NaN.

    Examples:
        >>> import torch
        >>> from dmtc.losses import SmoothedCrossEntropy
        >>> logits = torch.tensor([[[[2.0, 0.0]], [[0.0, 0.0]]]])  # one image of two pixels, two classes
        >>> label = torch.tensor([[[0, 255]]])  # the second pixel is ignored
        >>> value = SmoothedCrossEntropy(label_smoothing=0.1)(logits, label)  # 0.95 * 0.1269 + 0.05 * 2.1269
        >>> round(value.loss.item(), 4)
        0.2269
    """

    label_smoothing: float

    def __post_init__(self) -> None:
        require(0 <= self.label_smoothing < 1, self, "label_smoothing", "at least 0 and below 1")

    def __call__(self, logits: Tensor, label: Tensor) -> LossValue:
        """Compute the loss of a batch.

        Args:
            logits: (B, C, h, w), any floating type; the only input with gradient. Computed in float32.
            label: int64 (B, H, W), class index or 255 = ignored.

        Returns:
            The loss in nats per pixel; 0 with zero gradient if every pixel is ignored. No logs.
        """
        return LossValue(masked_mean(_per_pixel(logits, label, None, self.label_smoothing), label != IGNORE_INDEX))


@LOSSES.register("weighted_cross_entropy")
class WeightedCrossEntropy:
    """Cross-entropy with a weight for each class: sum w_y CE / sum w_y over the pixels that are not ignored.

    With label smoothing s, CE of class weights w is (1 - s) w_y (-log p_y) + s / C sum_c w_c (-log p_c), as in PyTorch.

    Args:
        class_weights: A weight for each class, at least 0; or how weights follow from n, the number of pixels of the
            class in the masks of the labelled images. "inverse_frequency": 1 / n. "inverse_square_root": 1 / sqrt(n),
            which is milder. "effective_number": (1 - beta) / (1 - beta^n). Only their ratios count; they are scaled to
            a mean of 1. A class without a pixel gets the weight of the rarest one.
        beta: In [0, 1); for "effective_number" alone. Classes with more than about 1 / (1 - beta) pixels weigh alike.
        label_smoothing: In [0, 1); see `SmoothedCrossEntropy`.
        classes: The classes of the data set and their pixels, from the library; None where only options are checked.

    In YAML:

        name: weighted_cross_entropy
        class_weights: inverse_frequency
        beta: 0.999999
        label_smoothing: 0.0

    Source: `torch.nn.functional.cross_entropy` with `weight` and `reduction="mean"`; the effective number is of Cui et
    al. (CVPR 2019), equation 2. Deviations: it counts pixels, where theirs counts images; a batch without labelled
    pixels gives 0, not NaN.

    Examples:
        >>> import torch
        >>> from dmtc.losses import WeightedCrossEntropy
        >>> loss = WeightedCrossEntropy(class_weights=[1.0, 3.0], beta=0.0, label_smoothing=0.0)
        >>> logits = torch.tensor([[[[2.0, 0.0]], [[0.0, 0.0]]]])
        >>> value = loss(logits, torch.tensor([[[0, 1]]]))  # (0.1269 + 3 * 0.6931) / 4
        >>> round(value.loss.item(), 4)
        0.5516
    """

    def __init__(
        self,
        *,
        class_weights: list[float] | WeightRule,
        beta: float,
        label_smoothing: float,
        classes: LabelledClasses | None = None,
    ) -> None:
        self.class_weights: list[float] | WeightRule = class_weights
        self.beta = beta
        self.label_smoothing = label_smoothing
        self._classes = classes
        self._weights: dict[torch.device, Tensor] = {}
        require(0 <= beta < 1, self, "beta", "at least 0 and below 1")
        require(0 <= label_smoothing < 1, self, "label_smoothing", "at least 0 and below 1")
        if not isinstance(class_weights, str):
            usable = all(0 <= weight < float("inf") for weight in class_weights) and any(class_weights)
            require(usable, self, "class_weights", "numbers that are at least 0, and not all of them 0")
            number = len(class_weights) if classes is None else classes.number
            require(len(class_weights) == number, self, "class_weights", f"a weight for each of the {number} classes")

    def weights_of_classes(self) -> list[float]:
        """The weight of each class, with a mean of 1; the first call may read the masks of all labelled images."""
        if not isinstance(self.class_weights, str):
            return weights_given(self.class_weights)
        assert self._classes is not None, "built for a run"
        return weights_by_rule(self.class_weights, self._classes.counts().pixels, self.beta)

    def __call__(self, logits: Tensor, label: Tensor) -> LossValue:
        """Compute the loss of a batch.

        Args:
            logits: (B, C, h, w), any floating type; the only input with gradient. Computed in float32.
            label: int64 (B, H, W), class index or 255 = ignored.

        Returns:
            The loss in nats; 0 with zero gradient if every pixel is ignored or of a class of weight 0. The divisor is
            the sum of the weights of the pixels. No logs.
        """
        weight = self._on(logits.device)
        valid = label != IGNORE_INDEX
        per_pixel = _per_pixel(logits, label, weight, self.label_smoothing)
        total = (weight[label.where(valid, 0)] * valid).sum()
        return LossValue(per_pixel.where(valid, 0).sum() / total.where(total > 0, 1), {}, total)

    def _on(self, device: torch.device) -> Tensor:
        if device not in self._weights:
            self._weights[device] = torch.tensor(self.weights_of_classes(), device=device)
        return self._weights[device]


def _per_pixel(logits: Tensor, label: Tensor, weight: Tensor | None, smoothing: float) -> Tensor:
    full = upsample(logits, (label.shape[-2], label.shape[-1]))
    weight = None if weight is None else weight.to(full.dtype)
    return F.cross_entropy(full, label, weight, ignore_index=IGNORE_INDEX, reduction="none", label_smoothing=smoothing)
