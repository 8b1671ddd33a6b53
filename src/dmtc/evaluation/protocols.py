"""Protocols: what of a validation picture is scored, and how the network is asked about it.

Published scores differ by points through these rules alone, so each is an option, and what a run used stands in its
results. A protocol has two halves. `frame` settles which pixels are scored, at which size; `ask` turns a network into
a predictor of a whole frame, by windows for example. Mirror images and scales (`with_views`) come between the two: each
view of the frame goes through `ask`. To predict, `whole` stands in for `frame`: every pixel is wanted, at the picture's
own size. A protocol of your own is a subclass of `Protocol`, registered in `PROTOCOLS`.
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
    """Whole pictures at their own size; protocols override one half or both.

    Examples:
        A protocol that scores the upper half alone:

        >>> class UpperHalf(Protocol):
        ...     def frame(self, batch):
        ...         half = batch.image.shape[-2] // 2
        ...         return batch.image[..., :half, :], batch.label[:, :half]
    """

    def frame(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What is scored.

        Args:
            batch: Pictures of one size with their masks.

        Returns:
            uint8 images (B, 3, h, w) and int64 truth (B, h, w) of one size.

        Raises:
            DataError: The protocol is not made for pictures of this size.
        """
        return batch.image, batch.label

    def ask(self, predict: Predictor) -> Predictor:
        """The predictor of whole frames that asks a network as the protocol wants."""
        return predict

    def whole(self, predict: Predictor) -> Predictor:
        """The predictor of whole pictures at their own size that shows them as `frame` does.

        Args:
            predict: A predictor of frames.
        """
        return predict


PROTOCOLS: Registry[Protocol] = Registry("protocol")
"""The known protocols, as in `evaluation`."""


@PROTOCOLS.register("original")
@dataclass(frozen=True, kw_only=True)
class Original(Protocol):
    """The whole picture at its own size.

    Used by ST++, UniMatch and CorrMatch for VOC, by PixelSSL with PSPNet, and by DMT and DMTC for Cityscapes, whose
    pictures they halve beforehand.
    """


@PROTOCOLS.register("padded")
@dataclass(frozen=True, kw_only=True)
class Padded(Protocol):
    """Padded at the bottom and the right to one size: black in the image, ignored in the truth.

    Used by AdvSemiSeg, DMT and DMTC for VOC, to 505x505. Deviations: AdvSemiSeg pads with the mean color; a larger
    picture is refused with a message, where the code of DMT and DMTC fails.

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
        """See `Protocol.whole`. A picture that is larger is shown as it is."""

        def predict_padded(images: Tensor) -> Tensor:
            height, width = images.shape[-2:]
            margins = (0, max(0, self.size[1] - width), 0, max(0, self.size[0] - height))
            return predict(F.pad(images, margins))[..., :height, :width]

        return predict_padded


@PROTOCOLS.register("short_edge")
@dataclass(frozen=True, kw_only=True)
class ShortEdge(Protocol):
    """Resized so that the short edge has one length, and scored at that size, against the truth resized with it.

    Used by PixelSSL with DeepLabV2 for VOC, at 321, the edge of its training crops. Deviation: it shrinks images with
    an antialiasing filter. Enlarging the truth of small pictures and shrinking that of large ones changes what a pixel
    weighs, so scores do not compare with those at the pictures' own size.

    Attributes:
        size: Length of the short edge in pixels; the long edge follows, rounded down as there.
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
    """The middle of the picture alone; a picture that is smaller is kept as it is.

    Used by U2PL and by UniMatch's Cityscapes runs to watch a training, at the size of the training crops. It is no
    protocol to report: the scores first published for GCT were too high by it (PixelSSL, task/sseg/README.md).
    Deviation: UniMatch's slices are wrong for smaller pictures. To predict, pictures are shown whole.

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
    """Image and truth resized by one factor, and scored at that size.

    With 0.5 it is how DMT, DMTC and ReCo score Cityscapes: at 512x1024, half the pictures' size. Needed only where the
    data set is read at full size. Deviation: DMT and DMTC shrink images with an antialiasing filter.

    Attributes:
        factor: Of height and width; the results are rounded.
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
    """Refuse what is no height and width.

    Raises:
        ConfigError: It is none.
    """
    if len(size) != 2 or min(size) < 1:
        raise ConfigError(f"evaluation.{name} should be a positive height and width, but is {size}")
