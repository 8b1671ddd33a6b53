"""Paired augmentation: image, label and confidence go through one and the same geometric map."""

from dataclasses import dataclass

import cv2
import numpy as np

from dmtc.registry import raise_faults
from dmtc.types import IGNORE_INDEX, Sample


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random scale, random crop and horizontal flip.

    The result equals resizing the whole image, padding it at the bottom and the right where it is smaller than the
    crop (image 0, label `IGNORE_INDEX`, confidence 0), cropping and flipping; but only the pixels of the crop are ever
    computed, by one warp per array. Image values are interpolated linearly, labels and confidences take the nearest
    pixel. Pixel centers lie at half coordinates, as in `cv2.resize`. At scale 1 all values are exact copies.

    Attributes:
        crop: Height and width of the result in pixels.
        scale: Smallest and largest factor; drawn uniformly.
        flip: Probability of a horizontal flip.

    Raises:
        ConfigError: A value is out of range; all faults in one message.

    Source:
        The recipe of DMT and DMTC (scale 0.5 to 1.5, padding at the bottom and the right before the crop). Deviation:
        they shrink with an antialiasing filter, here the linear filter keeps its width.
    """

    crop: list[int]
    scale: list[float]
    flip: float

    def __post_init__(self) -> None:
        faults = []
        if len(self.crop) != 2 or min(self.crop, default=0) < 1:
            faults.append(f"dataset.augment.crop should be a positive height and width, but is {self.crop}")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < float("inf"):
            faults.append(f"dataset.augment.scale should be a positive minimum and maximum, but is {self.scale}")
        if not 0 <= self.flip <= 1:
            faults.append(f"dataset.augment.flip should be a probability in [0, 1], but is {self.flip}")
        raise_faults(faults)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Augment one sample; the same generator state gives the same result.

        Args:
            sample: Any size of at least one pixel.
            rng: Four numbers are drawn from it, always: scale, top, left, flip.

        Returns:
            A sample of exactly the crop's size.
        """
        draws = rng.random(4)
        height, width = sample.label.shape
        crop_height, crop_width = self.crop
        scale = self.scale[0] + (self.scale[1] - self.scale[0]) * draws[0]
        scaled_height, scaled_width = max(1, int(scale * height)), max(1, int(scale * width))
        top = int(draws[1] * (max(0, scaled_height - crop_height) + 1))
        left = int(draws[2] * (max(0, scaled_width - crop_width) + 1))
        flip = bool(draws[3] < self.flip)

        # Only the part that the scaled image covers is warped: so its border is replicated as by a resize, and does
        # not fade into the padding.
        rows, columns = min(crop_height, scaled_height), min(crop_width, scaled_width)
        step_y, step_x = height / scaled_height, width / scaled_width
        first_y = (top + 0.5) * step_y - 0.5
        first_x = (left + 0.5) * step_x - 0.5
        if flip:
            first_x, step_x = (left + columns - 0.5) * step_x - 0.5, -step_x
        to_source = np.array([[step_x, 0.0, first_x], [0.0, step_y, first_y]])
        place = (slice(0, rows), slice(crop_width - columns, crop_width) if flip else slice(0, columns))

        def warp(array: np.ndarray, interpolation: int, padding: int) -> np.ndarray:
            result = np.full((crop_height, crop_width, *array.shape[2:]), padding, array.dtype)
            result[place] = cv2.warpAffine(
                array,
                to_source,
                (columns, rows),
                flags=interpolation | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
            return result

        return Sample(
            id=sample.id,
            image=warp(sample.image, cv2.INTER_LINEAR, 0),
            label=warp(sample.label, cv2.INTER_NEAREST, IGNORE_INDEX),
            confidence=warp(sample.confidence, cv2.INTER_NEAREST, 0),
        )
