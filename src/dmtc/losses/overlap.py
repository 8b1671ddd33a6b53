"""What the losses of overlap share: the label as one map per class, and the mean over the classes of an image."""

import torch
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX
from dmtc.losses.base import masked_mean


def class_maps(label: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """One-hot maps of a label.

    Args:
        label: int64 (B, H, W), class index or 255 = ignored.
        like: (B, C, H, W), whose dtype and device the maps have.

    Returns:
        The maps (B, C, H, W), 1 in the pixels of the class, and bool (B, H, W), false where ignored.

    Examples:
        >>> maps, valid = class_maps(torch.tensor([[[1, 255]]]), torch.zeros(1, 2, 1, 2))
        >>> maps[0, :, 0].tolist(), valid[0, 0].tolist()
        ([[0.0, 0.0], [1.0, 0.0]], [True, False])
    """
    valid = label != IGNORE_INDEX
    maps = torch.zeros_like(like).scatter_(1, label.where(valid, 0)[:, None], 1.0)
    return maps * valid[:, None], valid


def mean_over_present(values: Tensor, present: Tensor) -> Tensor:
    """The mean of each row, (B, C) with bool (B, C), over its present classes; (B,), 0 for a row without any.

    Examples:
        >>> mean_over_present(torch.tensor([[1.0, 3.0], [1.0, 3.0]]), torch.tensor([[True, True], [False, True]]))
        tensor([2., 3.])
    """
    return torch.stack([masked_mean(row, of_row) for row, of_row in zip(values, present, strict=True)])
