"""Pseudo-labels that spread over regions of alike pixels (CorrMatch)."""

import torch
from torch import Tensor

from dmtc.core.types import IGNORE_INDEX


@torch.no_grad()
def propagated(
    label: Tensor, confident: Tensor, regions: Tensor, threshold: float | Tensor, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Give the whole of a region one label where it is confident and nearly agrees.

    Region by region: if the share of its pixels that are confident is at least the threshold, and the commonest label
    of these has a share above it among them, then every pixel of the region takes that label and counts as confident.
    Later regions see the labels that earlier ones gave, but only pixels that were confident from the start vote.
    Synchronizes once with the device, to see which regions are confident.

    Args:
        label: int64 (B, H, W), pseudo-label or 255 = ignored. Ignored pixels belong to no region.
        confident: Bool (B, H, W).
        regions: Bool (B, R, H, W), in the order in which they count; without the pixels that are pasted from other
            images.
        threshold: In [0, 1]; scalar.
        num_classes: C.

    Returns:
        The new label, int64 (B, H, W), and bool (B, H, W), true where confident before or in a region that was given a
        label; false where ignored.

    Source: CorrMatch (Sun et al., CVPR 2024), section 3.3; deviation: an empty region, of which its code divides by the
    size, changes nothing.

    Examples:
        >>> label, confident = torch.tensor([[[1, 1, 1, 0, 2]]]), torch.tensor([[[True, True, True, False, True]]])
        >>> region = torch.tensor([[[[True, True, True, True, False]]]])
        >>> propagated(label, confident, region, 0.7, num_classes=3)
        (tensor([[[1, 1, 1, 1, 2]]]), tensor([[[True, True, True, True, True]]]))
        >>> propagated(label, confident, region, 0.8, num_classes=3)[0]
        tensor([[[1, 1, 1, 0, 2]]])
    """
    valid = label != IGNORE_INDEX
    voters = (confident & valid).flatten(1)
    members = (regions & valid[:, None]).flatten(2)
    votes = (members & voters[:, None]).sum(2)
    sure = (votes / members.sum(2).clamp(min=1) >= threshold) & (votes > 0)

    new, reached = label.flatten(1), voters
    ones = torch.ones_like(new)
    for region in sure.any(0).nonzero().flatten().tolist():
        row = new.where(members[:, region] & voters, num_classes)
        count = new.new_zeros(len(new), num_classes + 1).scatter_add_(1, row, ones)[:, :-1]
        most, commonest = count.max(1)
        agrees = sure[:, region] & (most / votes[:, region].clamp(min=1) > threshold)
        changed = members[:, region] & agrees[:, None]
        new, reached = commonest[:, None].where(changed, new), reached | changed
    return new.view_as(label), reached.view_as(label)
