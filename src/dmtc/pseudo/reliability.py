"""How reliable a teacher's labels of an image are: how well checkpoints of its training agree on it.

Source: Yang et al. 2022 (ST++). Deviation: images that are equally reliable are ordered by id, not by a list.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor


def agreement(predictions: Tensor, num_classes: int) -> Tensor:
    """Mean IoU of earlier checkpoints' predictions with those of the last, for each image.

    The IoU of two predictions of an image is the mean over the classes that are in either.

    Args:
        predictions: Integers in 0..C-1, (K, B, H, W): of K >= 2 checkpoints in the order of training.
        num_classes: C.

    Returns:
        float64 (B,) in [0, 1], on the device of the predictions.

    Examples:
        >>> early, last = torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 0, 0, 1]]])
        >>> agreement(torch.stack([early, last]), num_classes=3).item() == (2 / 3 + 1 / 2) / 2
        True
    """
    checkpoints, images = predictions.shape[:2]
    assert checkpoints >= 2, "the last checkpoint is compared with earlier ones"
    flat = predictions.flatten(2).long()
    first = num_classes * torch.arange(images, device=flat.device)[:, None]
    rows = (first + flat[-1]) * num_classes
    total = torch.zeros(images, dtype=torch.float64, device=flat.device)
    for earlier in flat[:-1]:
        cells = (rows + earlier).flatten().bincount(minlength=images * num_classes**2)
        counts = cells.view(images, num_classes, num_classes).double()
        hits = counts.diagonal(dim1=1, dim2=2)
        total += (hits / (counts.sum(1) + counts.sum(2) - hits)).nanmean(1)
    return total / (checkpoints - 1)


def image_reliability(
    checkpoints: Sequence[Callable[[Tensor], Tensor]],
    batches: Iterable[tuple[list[str], Tensor]],
    num_classes: int,
    progress: Callable[[int], None] = lambda images: None,
) -> dict[str, float]:
    """Predict images with every checkpoint and measure their reliability; keeps one number per image.

    Args:
        checkpoints: Networks in the order of training, at least two: uint8 (B, 3, H, W) -> logits (B, C, H, W), without
            gradient.
        batches: Ids and uint8 images (B, 3, H, W) on the networks' device; all images of a batch have the same size.
        num_classes: C.
        progress: Called with the number of images of each batch.

    Returns:
        The agreement of each image, by id; see `agreement`.

    Examples:
        >>> early, last = (lambda images: images[:, :2].float()), (lambda images: images[:, 1:].float())
        >>> images = torch.tensor([[[[3, 0]], [[1, 2]], [[0, 4]]]], dtype=torch.uint8)  # one row of two pixels
        >>> image_reliability([early, last], [(["a"], images)], num_classes=2)
        {'a': 1.0}
    """
    found: dict[str, float] = {}
    for ids, images in batches:
        predictions = torch.stack([predict(images).max(1).indices for predict in checkpoints])
        found |= dict(zip(ids, agreement(predictions, num_classes).tolist(), strict=True))
        progress(len(ids))
    return found


def by_reliability(reliability: Mapping[str, float]) -> list[str]:
    """The ids from the most to the least reliable image; ST++ trains on the first half first.

    Examples:
        >>> by_reliability({"c": 0.5, "a": 0.9, "b": 0.5})
        ['a', 'b', 'c']
    """
    return sorted(reliability, key=lambda id: (-reliability[id], id))
