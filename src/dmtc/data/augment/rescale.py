"""A second change of geometry, on the device: of crops that a teacher has labelled, together with what it said."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dmtc.core.registry import raise_faults
from dmtc.core.types import IGNORE_INDEX, Batch, Labels
from dmtc.data.augment.geometry import window


class _Place(NamedTuple):
    """Where an image's new pixels come from, and where they go."""

    source: tuple[slice, slice]
    size: tuple[int, int]
    target: tuple[slice, slice]
    flip: bool


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """Random scale, random crop of the old size and horizontal flip, for batches on any device.

    Image, label, confidence, entropy and logits of a row move together: the image is interpolated linearly, and the
    others take the nearest pixel. Draws and places are those of `Augment`, and so is the padding of a smaller image: at
    the bottom and, before the flip, on the right; image, confidence, entropy and logits by 0, the label by
    `IGNORE_INDEX`.

    Attributes:
        scale: Smallest and largest scale factor; drawn uniformly.
        flip: Probability of a horizontal flip.

    Raises:
        ConfigError: A value is out of range; one message lists all errors.

    Source:
        ReCo (Liu et al. 2022), `module_list.py`, with scale 0.5 to 1.5. Deviations: padding is 0 instead of a mirror
        image; label and confidence are not stored as bytes on the way, which rounded the confidence.

    Examples:
        >>> image, label = torch.zeros(1, 3, 2, 4, dtype=torch.uint8), torch.tensor([[[0, 1, 2, 3], [4, 5, 6, 7]]])
        >>> batch = Batch(image, label, torch.ones(1, 2, 4), torch.tensor([True]), ("one",))
        >>> Rescale(scale=[0.5, 0.5], flip=1.0)(batch, [np.random.default_rng(0)]).label
        tensor([[[255, 255,   7,   5],
                 [255, 255, 255, 255]]])
    """

    scale: list[float]
    flip: float

    def __post_init__(self) -> None:
        faults = []
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < float("inf"):
            faults.append(f"views.rescale.scale should be a positive minimum and maximum, but is {self.scale}")
        if not 0 <= self.flip <= 1:
            faults.append(f"views.rescale.flip should be a probability in [0, 1], but is {self.flip}")
        raise_faults(faults)

    def __call__(self, batch: Batch, rngs: Sequence[np.random.Generator]) -> Batch:
        """Change each row as its own generator says; the same generator state gives the same row.

        Args:
            batch: On its device, with labels and confidences of the images' size; not changed.
            rngs: One generator per row; each draws four numbers: scale, top, left, flip.

        Returns:
            A batch of the same image size.
        """
        places = [self._place(batch.image.shape[-2:], rng) for _, rng in zip(batch.ids, rngs, strict=True)]
        return replace(
            batch,
            image=_moved(batch.image, places, 0, smooth=True),
            label=_moved(batch.label, places, IGNORE_INDEX),
            confidence=_moved(batch.confidence, places, 0),
            entropy=None if batch.entropy is None else _moved(batch.entropy, places, 0),
            logits=None if batch.logits is None else _moved(batch.logits, places, 0),
            regions=None if batch.regions is None else _moved(batch.regions, places, 0),
            second=None if batch.second is None else _moved_labels(batch.second, places),
        )

    def _place(self, size: Sequence[int], rng: np.random.Generator) -> _Place:
        draws = rng.random(4)
        scale = self.scale[0] + (self.scale[1] - self.scale[0]) * draws[0]
        source_rows, rows = window(size[0], size[0], scale, draws[1])
        source_columns, columns = window(size[1], size[1], scale, draws[2])
        flip = bool(draws[3] < self.flip)
        target_columns = slice(size[1] - columns, size[1]) if flip else slice(0, columns)
        return _Place((source_rows, source_columns), (rows, columns), (slice(0, rows), target_columns), flip)


def _moved_labels(labels: Labels, places: Sequence[_Place]) -> Labels:
    return Labels(_moved(labels.label, places, IGNORE_INDEX), _moved(labels.confidence, places, 0))


def _moved(maps: Tensor, places: Sequence[_Place], padding: int, smooth: bool = False) -> Tensor:
    """Move the pixels of (B, ..., H, W); `smooth` is for uint8 images."""
    result = torch.full_like(maps, padding)
    for own, moved, place in zip(maps, result, places, strict=True):
        part = own[..., place.source[0], place.source[1]]
        if smooth:
            part = F.interpolate(part[None].float(), place.size, mode="bilinear", align_corners=False)[0].round_()
        else:
            for dim, new in zip((-2, -1), place.size, strict=True):
                part = part.index_select(dim, _nearest(part.shape[dim], new, maps.device))
        moved[..., place.target[0], place.target[1]] = part.flip(-1) if place.flip else part
    return result


def _nearest(old: int, new: int, device: torch.device) -> Tensor:
    """For each of `new` pixels along an axis, the one of `old` pixels in which its middle lies."""
    return (2 * torch.arange(new, device=device) + 1) * old // (2 * new)
