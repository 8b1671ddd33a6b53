"""Perturbations of feature maps between the backbone and the head: a view that no image could give."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry
from dmtc.core.types import Float32Array


class Perturbation(ABC):
    """Multiplies the channels of feature maps by random factors. Subclass it and register it in `PERTURBATIONS`.

    Attributes:
        views: How many views of each image the maps hold: rows i, n + i, ... of V n rows are views of image i of n.

    Examples:
        >>> class Louder(Perturbation):
        ...     def draw(self, images, channels, rng):
        ...         return [rng.uniform(1, 2, (1, images, count)).astype(np.float32) for count in channels]
        >>> Louder()([torch.ones(3, 8, 4, 4)], np.random.default_rng(0))[0].shape
        torch.Size([3, 8, 4, 4])
    """

    views: ClassVar[int] = 1

    @abstractmethod
    def draw(self, images: int, channels: Sequence[int], rng: np.random.Generator) -> list[Float32Array]:
        """Draw the factors of a whole batch.

        Args:
            images: Number of images n, each with all its views.
            channels: Channels of each map.
            rng: Source of all draws.

        Returns:
            Per map, float32 (views, n, channels).
        """

    def __call__(
        self,
        maps: Sequence[Tensor],
        rng: np.random.Generator,
        images: Sequence[int] | None = None,
        of: int | None = None,
    ) -> list[Tensor]:
        """Perturb the maps; the same generator state gives the same factors.

        Args:
            maps: Per level, (V n, c_i, h_i, w_i) of any float dtype, on any device; not changed.
            rng: Source of all draws.
            images: Positions of the n images in the whole batch, where the maps are a part of it, such as those of
                one process. The factors are drawn for the whole batch, so they do not depend on how it is split.
            of: Number of images in the whole batch; given together with `images`.

        Returns:
            Maps of the same shapes and dtypes.

        Raises:
            ValueError: The rows are not n images with all their views.
        """
        count, rest = divmod(len(maps[0]), self.views)
        images = range(count) if images is None else images
        if rest or len(images) != count:
            raise ValueError(f"{len(maps[0])} rows are not {self.views} views of {len(images)} images")
        factors = self.draw(count if of is None else of, [each.shape[1] for each in maps], rng)
        return [each * _like(each, factor[:, list(images)]) for each, factor in zip(maps, factors, strict=True)]


PERTURBATIONS: Registry[Perturbation] = Registry("perturbation")
"""The registered perturbations, chosen by `views.perturbation`."""


@PERTURBATIONS.register("channel_dropout")
@dataclass(frozen=True, kw_only=True)
class ChannelDropout(Perturbation):
    """Sets random channels of each image and map to 0 and scales the others up, so that the mean stays.

    Attributes:
        share: Probability of each channel to be dropped, in [0, 1).

    Raises:
        ConfigError: The share is out of range.

    Source:
        UniMatch (Yang et al. 2023), section 3.2, with share 0.5; channels are dropped as by `torch.nn.Dropout2d`.

    Examples:
        >>> maps = [torch.ones(1, 4, 2, 2)]
        >>> ChannelDropout(share=0.5)(maps, np.random.default_rng(0))[0][:, :, 0, 0]
        tensor([[2., 0., 0., 0.]])
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ConfigError(f"views.perturbation.share should lie in [0, 1), but is {self.share}")

    def draw(self, images: int, channels: Sequence[int], rng: np.random.Generator) -> list[Float32Array]:
        """Draw factors 0 or 1 / (1 - share) for each channel of each image and map."""
        kept = [rng.random((1, images, count)) >= self.share for count in channels]
        return [each.astype(np.float32) / np.float32(1 - self.share) for each in kept]


@PERTURBATIONS.register("complementary")
@dataclass(frozen=True, kw_only=True)
class ComplementaryDropout(Perturbation):
    """Gives each of two views a random half of the channels, doubled, and the other view the other half.

    Maps with equally many channels, as those of a plain vision transformer, share their factors.

    Attributes:
        spared: Share of the images, rounded down, that keep all channels in both views; which ones is random. Of a
            single image, none is spared unless `spared` is 1.

    Raises:
        ConfigError: The share is out of range.

    Source:
        UniMatch V2 (Yang et al. 2025), `model/semseg/dpt.py`, with half of the images spared.

    Examples:
        >>> views = [torch.ones(2, 4, 1, 1)]  # the two views of one image
        >>> ComplementaryDropout(spared=0.5)(views, np.random.default_rng(0))[0][:, :, 0, 0]
        tensor([[2., 2., 2., 0.],
                [0., 0., 0., 2.]])
    """

    spared: float
    views: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not 0 <= self.spared <= 1:
            raise ConfigError(f"views.perturbation.spared should lie in [0, 1], but is {self.spared}")

    def draw(self, images: int, channels: Sequence[int], rng: np.random.Generator) -> list[Float32Array]:
        """Draw factors 0 and 2, or 1 in both views of a spared image."""
        spared = rng.permutation(images)[: int(images * self.spared)]
        drawn = {}
        for count in channels:
            if count not in drawn:
                first = 2 * rng.integers(0, 2, (images, count)).astype(np.float32)
                first[spared] = 1
                drawn[count] = np.stack([first, 2 - first])
        return [drawn[count] for count in channels]


def _like(features: Tensor, factors: Float32Array) -> Tensor:
    """Factors (views, n, c) as (views n, c, 1, 1), of the dtype and on the device of the features."""
    return torch.from_numpy(factors).flatten(0, 1)[..., None, None].to(features)
