"""Class-balanced selection: the most confident share of every predicted class becomes pseudo-labels.

Confidences are stored as one of `LEVELS` levels of log-odds, log(p / (1 - p)). Even steps in p would put half of a
confident teacher's pixels into the top step, and a ratio of 0.2 would then keep far more than a fifth. The published
code has this problem in half precision.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dmtc.core.errors import ConfigError
from dmtc.core.types import Float32Array

LEVELS = 4096
"""Number of confidence levels in a store; see `level_confidence`."""
CERTAIN = LEVELS - 1
"""The highest level, a confidence of exactly 1 in float32; used for labels from masks."""

# Fine levels start below the lowest log-odds that the most probable of 255 classes can have, log(1/254) = -5.5, and go
# up to p = 0.99995. Above, only the order matters, so levels are coarse. They end at 138, which no teacher reaches.
_FINE_FROM, _FINE_LEVELS, _FINE_PER_UNIT = -6.0, 2048, 128
_COARSE_FROM, _COARSE_PER_UNIT = _FINE_FROM + _FINE_LEVELS / _FINE_PER_UNIT, 16

Levels = npt.NDArray[np.uint16]


def level_of(log_odds: Tensor) -> Tensor:
    """The confidence level of a log-odds value.

    Args:
        log_odds: Float, any shape; log(p / (1 - p)) of a probability p.

    Returns:
        int64 of the same shape in [0, LEVELS).
    """
    log_odds = log_odds.float()
    fine = (log_odds - _FINE_FROM) * _FINE_PER_UNIT
    coarse = (log_odds - _COARSE_FROM) * _COARSE_PER_UNIT + _FINE_LEVELS
    return torch.where(log_odds < _COARSE_FROM, fine, coarse).round().clamp(0, LEVELS - 1).long()


def level_confidence() -> Float32Array:
    """The probability of each level: float32 (LEVELS,), rising from 0 to 1, both included.

    Neighboring levels differ by less than 0.002, so the error of a stored confidence is below 0.001. The lowest level,
    which no teacher reaches, is 0 for pixels without a prediction (a crop's padding); the highest is `CERTAIN`.

    Examples:
        >>> level_confidence()[[0, 1024, 4095]].round(4)
        array([0.    , 0.8808, 1.    ], dtype=float32)
    """
    level = np.arange(LEVELS)
    fine = _FINE_FROM + level / _FINE_PER_UNIT
    coarse = _COARSE_FROM + (level - _FINE_LEVELS) / _COARSE_PER_UNIT
    log_odds = np.where(level < _FINE_LEVELS, fine, coarse)
    log_odds[0] = -np.inf
    return (1 / (1 + np.exp(-log_odds))).astype(np.float32)


def confidence_histogram(label: Tensor, level: Tensor, num_classes: int) -> Tensor:
    """Count pixels per predicted class and confidence level.

    Args:
        label: Integer, any shape; predicted class, below `num_classes`.
        level: Integer of the same shape; from `level_of`.
        num_classes: C.

    Returns:
        int64 (C, LEVELS), on the device of the inputs.

    Examples:
        >>> confidence_histogram(torch.tensor([0, 0, 1]), torch.tensor([5, 5, 7]), num_classes=2)[:, 5:8]
        tensor([[2, 0, 0],
                [0, 0, 1]])
    """
    flat = label.flatten().long() * LEVELS + level.flatten().long()
    return torch.bincount(flat, minlength=num_classes * LEVELS).view(num_classes, LEVELS)


def threshold_levels(histogram: npt.NDArray[np.int64], label_ratio: float) -> npt.NDArray[np.int64]:
    """The lowest bin kept of each class.

    A class of n pixels keeps its int(n * label_ratio) + 1 most confident ones, as in the published code, and all others
    in the bin of the last one. All pixels of a class are kept at ratio 1, or if n * label_ratio is below 1.

    Args:
        histogram: Integer (C, bins); pixels per class and bin, in order of rising confidence.
        label_ratio: Share to keep, in (0, 1].

    Returns:
        int64 (C,); pixels in this bin or a higher one are kept.

    Raises:
        ConfigError: The ratio is outside (0, 1].

    Source: Zou et al. 2018, algorithm 1. Deviation: confidences are binned; a class without predictions is allowed.
    """
    if not 0 < label_ratio <= 1:
        raise ConfigError(f"label ratio should be above 0 and at most 1, but is {label_ratio!r}")
    histogram = np.asarray(histogram, dtype=np.int64)
    wanted = (histogram.sum(1) * label_ratio).astype(np.int64)
    # Pixels in each bin or above; the threshold is the highest bin for which these are more than `wanted`.
    at_least = histogram[:, ::-1].cumsum(1)[:, ::-1]
    highest = (at_least > wanted[:, None]).sum(1) - 1
    return np.where((label_ratio >= 1) | (wanted < 1), 0, np.maximum(highest, 0))


def threshold_confidences(levels: npt.NDArray[np.int64]) -> Float32Array:
    """The confidences of the levels from `threshold_levels`: float32 (C,), 0 where all pixels are kept."""
    return np.where(levels == 0, 0, level_confidence()[levels]).astype(np.float32)


def class_balanced_thresholds(
    histogram: npt.ArrayLike | Tensor, label_ratio: float, edges: npt.ArrayLike | None = None
) -> Float32Array:
    """The lowest confidence of each class at which its predictions become pseudo-labels.

    Args:
        histogram: Integer (C, bins); pixels per predicted class and confidence bin, in order of rising confidence.
        label_ratio: Share of every class to keep, in (0, 1].
        edges: (bins,) lower edge of each bin in [0, 1]; by default the bins divide [0, 1] evenly.

    Returns:
        float32 (C,) in [0, 1]: a pixel of class c is kept if its confidence is at least the c-th value. 0 at ratio 1
        and for a class with fewer than 1 / label_ratio pixels (or none).

    Raises:
        ConfigError: The ratio is outside (0, 1].

    Source: Zou et al. 2018, algorithm 1. Deviation: see `threshold_levels`.

    Examples:
        >>> class_balanced_thresholds([[0, 6, 0, 2]], 0.2)
        array([0.75], dtype=float32)
    """
    counts = np.asarray(histogram)
    levels = threshold_levels(counts, label_ratio)
    lower = np.arange(counts.shape[1]) / counts.shape[1] if edges is None else np.asarray(edges)
    return np.where(levels == 0, 0.0, lower[levels]).astype(np.float32)
