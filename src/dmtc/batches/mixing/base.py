"""What a mixer is: it composes training images from the pixels of several, with all that is known about them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dmtc.core.registry import Registry
from dmtc.core.types import Batch

ExtraRows = Literal["same_image", "other_batch"]


@dataclass(frozen=True, kw_only=True)
class Mixer(ABC):
    """Composes the images of a batch that a teacher has labelled.

    Every pixel keeps its label, confidence, entropy and logits, wherever it goes: padding stays ignored.
    """

    @property
    def extra_rows(self) -> ExtraRows | None:
        """Which further unlabelled rows are pasted: other crops of the same images, another batch, or none."""
        return None

    @property
    def uses_labelled(self) -> bool:
        """Whether pixels of labelled images are pasted too."""
        return False

    @property
    def needs(self) -> frozenset[str]:
        """The optional maps of a batch that the mixer reads, for example `entropy`."""
        return frozenset()

    @abstractmethod
    def mix(self, own: Batch, extra: Batch | None, labelled: Batch | None, rng: np.random.Generator) -> Batch:
        """Compose new images; the same generator state gives the same result.

        Args:
            own: All unlabelled rows of the step, over all processes, in their order.
            extra: As many rows as `own`, if `extra_rows` asks for them.
            labelled: The labelled rows of the step, if the mixer uses them.
            rng: For all draws of the mixer.

        Returns:
            As many rows as `own`, of the same size, with its ids.
        """


MIXERS: Registry[Mixer] = Registry("mixer", runtime=("num_classes",))
"""All registered mixers. `num_classes` is passed by the library to those that take it.

Examples:
    >>> MIXERS.build({"name": "none"}, num_classes=21)
    NoMixing()
"""


@MIXERS.register("none")
@dataclass(frozen=True, kw_only=True)
class NoMixing(Mixer):
    """Leaves the images as they are."""

    def mix(self, own: Batch, extra: Batch | None, labelled: Batch | None, rng: np.random.Generator) -> Batch:
        """Return `own`."""
        return own


def probability_faults(probability: float) -> list[str]:
    """What is wrong with a mixer's probability, if anything is."""
    if 0 <= probability <= 1:
        return []
    return [f"mixing.probability should be a probability in [0, 1], but is {probability}"]
