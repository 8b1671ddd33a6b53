"""Protocols that score whole images at their own size, but run the network at another size or in windows."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dmtc.core.errors import ConfigError
from dmtc.evaluation.predictors import Predictor, logarithm, shown_at
from dmtc.evaluation.protocols import PROTOCOLS, Protocol, check_size


@PROTOCOLS.register("multiple")
@dataclass(frozen=True, kw_only=True)
class Multiple(Protocol):
    """Predicted at the nearest size that is a multiple of a number, scored at the image's own size.

    Used by UniMatch V2 for VOC, ADE20K and COCO, with 14, the patch size of DINOv2; logits are resized back, as there.
    Deviation: it resizes with aligned corners.

    Attributes:
        of: The number in pixels.
    """

    of: int

    def __post_init__(self) -> None:
        if self.of < 1:
            raise ConfigError(f"evaluation.of should be at least 1, but is {self.of}")

    def wrap(self, predict: Predictor) -> Predictor:
        """See `Protocol.wrap`."""
        return shown_at(predict, lambda height, width: (self._nearest(height), self._nearest(width)))

    def _nearest(self, length: int) -> int:
        return max(1, int(length / self.of + 0.5)) * self.of


@PROTOCOLS.register("sliding")
@dataclass(frozen=True, kw_only=True)
class Sliding(Protocol):
    """Overlapping windows over the whole image at its own size; overlaps average the probabilities.

    Used for full-size Cityscapes with windows of the training crop's size, two thirds of it apart: 801 in UniMatch, 798
    in UniMatch V2, 800 in CPS. The last window of a row or column is flush with the border, as in all of these but
    UniMatch, where windows continue until none starts inside the image, and the border cuts them off. An image smaller
    than a window is one smaller window (U2PL and CPS pad it). Deviation: U2PL and CPS add logits; UniMatch adds
    probabilities, as here. Any number of classes; UniMatch fixes 19.

    Attributes:
        crop: Height and width of a window in pixels.
        stride: Step between windows as a share of the window in (0, 1]; rounded down to pixels, as in UniMatch.
        ragged: Cut the last windows off at the border, as in UniMatch, CorrMatch and PrevMatch, instead of moving the
            last one inside.
    """

    crop: list[int]
    stride: float
    ragged: bool

    def __post_init__(self) -> None:
        check_size("crop", self.crop)
        if not 0 < self.stride <= 1:
            raise ConfigError(f"evaluation.stride should be a share in (0, 1], but is {self.stride}")

    def wrap(self, predict: Predictor) -> Predictor:
        """See `Protocol.wrap`."""

        def predict_in_windows(images: Tensor) -> Tensor:
            size = images.shape[-2:]
            total: Tensor | None = None
            count = torch.zeros(size, device=images.device)
            for top, left, height, width in self.windows(*size):
                window = (..., slice(top, top + height), slice(left, left + width))
                probabilities = predict(images[window]).float().softmax(dim=1)
                if total is None:  # the number of classes is unknown until now
                    total = probabilities.new_zeros(*probabilities.shape[:2], *size)
                total[window] += probabilities
                count[window] += 1
            assert total is not None, "an image has at least one window"
            return logarithm(total / count)

        return predict_in_windows

    def windows(self, height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
        """Top, left, height and width of each window over an image of this size, row by row."""
        for top in self._starts(height, self.crop[0]):
            for left in self._starts(width, self.crop[1]):
                yield top, left, min(self.crop[0], height - top), min(self.crop[1], width - left)

    def _starts(self, length: int, crop: int) -> list[int]:
        step = max(1, int(crop * self.stride))
        if self.ragged:
            return [*range(0, length, step)]
        last = max(0, length - crop)
        return [*range(0, last, step), last]
