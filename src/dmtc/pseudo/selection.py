"""Class-balanced selection: the most confident share of every predicted class becomes pseudo-labels.

Confidences are binned by `dmtc.core.levels`.
"""

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dmtc.core.errors import ConfigError
from dmtc.core.levels import level_confidence
from dmtc.core.types import Float32Array


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
