"""Levels of confidence: evenly spaced log-odds, for stored confidences and for histograms.

Even steps in the probability p would put half of a confident teacher's pixels into the top step, and a ratio of 0.2
would then keep far more than a fifth. The published code has this problem in half precision. So a level is a step in
log-odds, log(p / (1 - p)).
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

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
