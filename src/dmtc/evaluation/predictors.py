"""Predictors, and predictors built from others: ensembles, and means over mirror images and scales."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from dmtc.evaluation.resizing import resized_images, resized_logits

Predictor = Callable[[Tensor], Tensor]
"""uint8 images (B, 3, H, W) -> logits (B, C, H, W), without gradients."""

_MANY_CLASSES = 16
"""From here on NumPy is faster if a pixel's classes lie side by side: at 21 by a tenth, at 150 threefold."""


def most_probable(logits: Tensor) -> Tensor:
    """The class of every pixel: int64 (B, H, W), for logits or probabilities (B, C, H, W); the first one of a tie.

    `argmax` gives the same, but takes up to five times as long on the CPU if the maps of the classes lie apart.

    Examples:
        >>> most_probable(torch.tensor([[[[1.0]], [[3.0]], [[3.0]]]]))
        tensor([[[1]]])
    """
    beside = logits.is_contiguous(memory_format=torch.channels_last)
    if beside and logits.device.type == "cpu" and logits.dtype == torch.float32 and logits.shape[1] >= _MANY_CLASSES:
        return torch.from_numpy(logits.permute(0, 2, 3, 1).numpy().argmax(axis=-1))  # with vector instructions
    return logits.max(dim=1).indices


def averaged(logits: Iterable[Tensor]) -> Tensor:
    """Log of the mean probabilities of several logits (B, C, H, W), float32.

    Examples:
        >>> sure, unsure = torch.tensor([[[[9.0]], [[-9.0]]]]), torch.zeros(1, 2, 1, 1)
        >>> averaged([sure, unsure]).exp().flatten()
        tensor([0.7500, 0.2500])
    """
    total, count = None, 0
    for one in logits:
        probabilities = one.float().softmax(dim=1)
        total = probabilities if total is None else total + probabilities
        count += 1
    assert total is not None, "there is always something to average"
    return logarithm(total / count)


def logarithm(probabilities: Tensor) -> Tensor:
    """The logarithm, made finite at probability 0: resizing would turn -inf into NaN."""
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


def ensemble(predictors: Sequence[Predictor]) -> Predictor:
    """Log of the mean of several networks' probabilities; a single network is returned unchanged.

    Examples:
        >>> both = ensemble([lambda images: images * 0, lambda images: images])
        >>> both(torch.tensor([[[[0.0]], [[1.0]]]])).argmax(dim=1).item()
        1
    """
    if len(predictors) == 1:
        return predictors[0]
    return lambda images: averaged(predictor(images) for predictor in predictors)


def shown_at(predict: Predictor, size: Callable[[int, int], tuple[int, int]]) -> Predictor:
    """A predictor that resizes images for `predict` and resizes its logits back.

    Args:
        predict: Predictor of the resized images.
        size: Maps an image's height and width to those of the resized image.

    Examples:
        >>> half = shown_at(lambda images: images.float(), lambda height, width: (height // 2, width // 2))
        >>> half(torch.zeros(1, 3, 8, 12, dtype=torch.uint8)).shape
        torch.Size([1, 3, 8, 12])
    """

    def predict_resized(images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        return resized_logits(predict(resized_images(images, *size(height, width))), height, width)

    return predict_resized


def with_views(predict: Predictor, flip: bool, scales: Sequence[float]) -> Predictor:
    """The mean of a predictor's probabilities over views of the images (test-time augmentation).

    Args:
        predict: Predicts every view.
        flip: Add the mirror image of each view.
        scales: Factors of height and width, one view each; logits are resized to the images' size before softmax.

    Returns:
        The log of the mean; `predict` itself if the only view is the unchanged image.

    Source:
        The lists of scales and the flip of CPS and U2PL. Deviation: they add logits; here probabilities are averaged,
        as for networks and windows.
    """
    if not flip and list(scales) == [1.0]:
        return predict

    def views(images: Tensor) -> Iterator[Tensor]:
        height, width = images.shape[-2:]
        for scale in scales:
            view = resized_images(images, max(1, round(scale * height)), max(1, round(scale * width)))
            yield resized_logits(predict(view), height, width)
            if flip:
                yield resized_logits(predict(view.flip(-1)).flip(-1), height, width)

    return lambda images: averaged(views(images))
