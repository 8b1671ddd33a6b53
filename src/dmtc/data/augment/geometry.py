"""Paired augmentation: image, label and confidence level get the same geometric transform."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from dmtc.core.registry import raise_faults
from dmtc.core.types import IGNORE_INDEX, Sample

_CELL = 32  # the largest output stride


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random scale, random crop and horizontal flip.

    The source region of the crop is cut out first, at whole pixels, and only this region is resized. The result equals
    resizing the whole image, padding it at the bottom and right if it is smaller than the crop (image 0, label
    `IGNORE_INDEX`, level 0), cropping and flipping, up to a shift of less than one source pixel and a scale difference
    of less than one pixel over the crop. Images are interpolated linearly; labels and levels take the nearest pixel. At
    scale 1, all values are exact copies.

    Attributes:
        crop: Height and width of the result in pixels.
        scale: Smallest and largest scale factor; drawn uniformly.
        flip: Probability of a horizontal flip.
        fit: Whether to shrink the crop to the usual image size first; see `fitted`.

    Raises:
        ConfigError: A value is out of range; one message lists all errors.

    Source:
        The recipe of DMT and DMTC (scale 0.5 to 1.5, padding at the bottom and right before the crop). Deviation: they
        downscale with an antialiasing filter; here the linear filter keeps its width.

    Examples:
        >>> augment = Augment(crop=[2, 2], scale=[1.0, 1.0], flip=0.0)
        >>> image, label = np.zeros((1, 2, 3), np.uint8), np.array([[0, 1]], np.uint8)
        >>> augment(Sample("one", image, label), np.random.default_rng(0)).label
        array([[  0,   1],
               [255, 255]], dtype=uint8)
    """

    crop: list[int]
    scale: list[float]
    flip: float
    fit: bool = False

    def __post_init__(self) -> None:
        faults = []
        if len(self.crop) != 2 or min(self.crop, default=0) < 1:
            faults.append(f"dataset.augment.crop should be a positive height and width, but is {self.crop}")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < float("inf"):
            faults.append(f"dataset.augment.scale should be a positive minimum and maximum, but is {self.scale}")
        if not 0 <= self.flip <= 1:
            faults.append(f"dataset.augment.flip should be a probability in [0, 1], but is {self.flip}")
        raise_faults(faults)

    def fitted(self, size: tuple[int, int] | None) -> "Augment":
        """If `fit` is on, shrink the crop to the usual image size, so that it is not mostly padding.

        Args:
            size: Usual height and width; None if unknown, which leaves the crop unchanged.

        Returns:
            A copy with `fit` off. Its crop is at most `size` rounded down to multiples of 32 pixels, but at least 32.
        """
        if not self.fit or size is None:
            return replace(self, fit=False)
        usual = (max(_CELL, side // _CELL * _CELL) for side in size)
        return replace(self, crop=[min(own, most) for own, most in zip(self.crop, usual, strict=True)], fit=False)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Augment one sample; the same generator state gives the same result.

        Args:
            sample: Any size of at least one pixel.
            rng: Always draws four numbers: scale, top, left, flip.

        Returns:
            A sample of exactly the crop size.
        """
        draws = rng.random(4)
        height, width = sample.label.shape
        crop_height, crop_width = self.crop
        scale = self.scale[0] + (self.scale[1] - self.scale[0]) * draws[0]
        source_rows, rows = window(height, crop_height, scale, draws[1])
        source_columns, columns = window(width, crop_width, scale, draws[2])
        flip = bool(draws[3] < self.flip)
        place = (slice(0, rows), slice(crop_width - columns, crop_width) if flip else slice(0, columns))

        def cut(array: np.ndarray, interpolation: int, padding: int) -> np.ndarray:
            part = cv2.resize(array[source_rows, source_columns], (columns, rows), interpolation=interpolation)
            if flip:
                part = cv2.flip(part, 1)
            if (rows, columns) == (crop_height, crop_width):
                return part
            result = np.full((crop_height, crop_width, *array.shape[2:]), padding, array.dtype)
            result[place] = part
            return result

        return Sample(
            id=sample.id,
            image=cut(sample.image, cv2.INTER_LINEAR, 0),
            label=cut(sample.label, cv2.INTER_NEAREST_EXACT, IGNORE_INDEX),
            level=None if sample.level is None else cut(sample.level, cv2.INTER_NEAREST_EXACT, 0),
        )


def window(size: int, crop: int, scale: float, draw: float) -> tuple[slice, int]:
    """Along one axis: the source pixels to use, and the number of crop pixels that they become."""
    scaled = max(1, int(scale * size))
    if scaled <= crop:
        return slice(0, size), scaled
    used = max(1, round(crop * size / scaled))
    first = int(draw * (size - used + 1))
    return slice(first, first + used), crop
