"""Protocols: which pixels of a validation image are scored, and how the network predicts them.

These rules alone change published scores by points, so each is an option, and results record the one used. A protocol
has two halves. `frame` sets which pixels are scored, at which size; `wrap` turns a network into a predictor of a whole
frame, for example by windows. Mirror images and scales (`with_views`) come in between: each view of the frame goes
through the predictor from `wrap`. Prediction uses `whole` instead of `frame`, because it needs every pixel at the
image's own size. To add a protocol, subclass `Protocol` and register it in `PROTOCOLS`.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from dmtc.core.errors import ConfigError, DataError
from dmtc.core.registry import Registry
from dmtc.core.types import IGNORE_INDEX, Batch
from dmtc.evaluation.predictors import Predictor, shown_at
from dmtc.evaluation.resizing import resized_images, resized_truth


class Protocol:
    """Whole images at their own size; protocols override one half or both.

    Examples:
        A protocol that scores only the upper half:

        >>> class UpperHalf(Protocol):
        ...     def frame(self, batch):
        ...         half = batch.image.shape[-2] // 2
        ...         return batch.image[..., :half, :], batch.label[:, :half]
    """

    def frame(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The images and truth to score.

        Args:
            batch: Images of one size with their masks.

        Returns:
            uint8 images (B, 3, h, w) and int64 truth (B, h, w) of the same size.

        Raises:
            DataError: The protocol cannot handle images of this size.
        """
        return batch.image, batch.label

    def wrap(self, predict: Predictor) -> Predictor:
        """A predictor of whole frames that runs a network as the protocol says."""
        return predict

    def whole(self, predict: Predictor) -> Predictor:
        """A predictor of whole images at their own size that prepares them the way `frame` does.

        Args:
            predict: A predictor of frames.
        """
        return predict


PROTOCOLS: Registry[Protocol] = Registry("protocol")
"""The known protocols, as in `evaluation`."""


@PROTOCOLS.register("original")
@dataclass(frozen=True, kw_only=True)
class Original(Protocol):
    """The whole image at its own size.

    Used by ST++, UniMatch and CorrMatch for VOC, by PixelSSL with PSPNet, and by DMT and DMTC for Cityscapes, whose
    images they halve beforehand.
    """


@PROTOCOLS.register("padded")
@dataclass(frozen=True, kw_only=True)
class Padded(Protocol):
    """Padded at the bottom and right to one size: black in the image, ignored in the truth.

    Used by AdvSemiSeg, DMT and DMTC for VOC, to 505x505. Deviations: AdvSemiSeg pads with the mean color; larger images
    are refused with a message, where the code of DMT and DMTC fails.

    Attributes:
        size: Height and width in pixels.
    """

    size: list[int]

    def __post_init__(self) -> None:
        check_size("size", self.size)

    def frame(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `Protocol.frame`."""
        height, width = batch.image.shape[-2:]
        if height > self.size[0] or width > self.size[1]:
            raise DataError(
                f"{batch.ids[0]}: {height}x{width} pixels do not fit into {self.size[0]}x{self.size[1]}; "
                "take a larger evaluation.size, or a protocol for any size, such as evaluation=original"
            )
        margins = (0, self.size[1] - width, 0, self.size[0] - height)
        return F.pad(batch.image, margins), F.pad(batch.label, margins, value=IGNORE_INDEX)

    def whole(self, predict: Predictor) -> Predictor:
        """See `Protocol.whole`. Larger images stay unpadded."""

        def predict_padded(images: Tensor) -> Tensor:
            height, width = images.shape[-2:]
            margins = (0, max(0, self.size[1] - width), 0, max(0, self.size[0] - height))
            return predict(F.pad(images, margins))[..., :height, :width]

        return predict_padded


@PROTOCOLS.register("short_edge")
@dataclass(frozen=True, kw_only=True)
class ShortEdge(Protocol):
    """Resized to a fixed short edge and scored at that size, with the truth resized too.

    Used by PixelSSL with DeepLabV2 for VOC, at 321, the edge of its training crops. Deviation: it shrinks images with
    an antialiasing filter. Resizing the truth changes the weight of each pixel, so scores are not comparable with those
    at the images' own size.

    Attributes:
        size: Length of the short edge in pixels; the long edge is rounded down, as in PixelSSL.
    """

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"evaluation.size should be at least 1, but is {self.size}")

    def frame(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `Protocol.frame`."""
        return _resized(batch, *self._shown(*batch.image.shape[-2:]))

    def whole(self, predict: Predictor) -> Predictor:
        """See `Protocol.whole`."""
        return shown_at(predict, self._shown)

    def _shown(self, height: int, width: int) -> tuple[int, int]:
        short = min(height, width)
        return height * self.size // short, width * self.size // short


@PROTOCOLS.register("center_crop")
@dataclass(frozen=True, kw_only=True)
class CenterCrop(Protocol):
    """Only the center of the image; a smaller image is kept as it is.

    Used by U2PL and by UniMatch's Cityscapes runs to monitor training, at the size of the training crops. Do not report
    its scores: it made the scores first published for GCT too high (PixelSSL, task/sseg/README.md). Deviation:
    UniMatch's slices are wrong for smaller images. Prediction uses whole images.

    Attributes:
        size: Height and width in pixels.
    """

    size: list[int]

    def __post_init__(self) -> None:
        check_size("size", self.size)

    def frame(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `Protocol.frame`."""
        height, width = batch.image.shape[-2:]
        top, left = max(0, height - self.size[0]) // 2, max(0, width - self.size[1]) // 2
        middle = (..., slice(top, top + self.size[0]), slice(left, left + self.size[1]))
        return batch.image[middle], batch.label[middle]


@PROTOCOLS.register("resized")
@dataclass(frozen=True, kw_only=True)
class Resized(Protocol):
    """Image and truth resized by one factor and scored at that size.

    DMT, DMTC and ReCo score Cityscapes this way with 0.5: at 512x1024, half the images' size. Needed only if the data
    set is read at full size. Deviation: DMT and DMTC shrink images with an antialiasing filter.

    Attributes:
        factor: Factor of height and width; the results are rounded.
    """

    factor: float

    def __post_init__(self) -> None:
        if not 0 < self.factor < float("inf"):
            raise ConfigError(f"evaluation.factor should be above 0, but is {self.factor}")

    def frame(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `Protocol.frame`."""
        return _resized(batch, *self._shown(*batch.image.shape[-2:]))

    def whole(self, predict: Predictor) -> Predictor:
        """See `Protocol.whole`."""
        return shown_at(predict, self._shown)

    def _shown(self, height: int, width: int) -> tuple[int, int]:
        return max(1, round(self.factor * height)), max(1, round(self.factor * width))


def _resized(batch: Batch, height: int, width: int) -> tuple[Tensor, Tensor]:
    return resized_images(batch.image, height, width), resized_truth(batch.label, height, width)


def check_size(name: str, size: list[int]) -> None:
    """Check a height and width.

    Raises:
        ConfigError: They are not two positive numbers.
    """
    if len(size) != 2 or min(size) < 1:
        raise ConfigError(f"evaluation.{name} should be a positive height and width, but is {size}")
