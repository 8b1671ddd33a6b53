"""A mixer that pastes whole classes."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from dmtc.batches.mixing.base import MIXERS
from dmtc.batches.mixing.masks import class_masks
from dmtc.batches.mixing.partners import Pasting
from dmtc.core.types import Batch


@MIXERS.register("classmix")
@dataclass(frozen=True, kw_only=True)
class ClassMix(Pasting):
    """Puts half of the classes of each image, by its own pseudo-label, in front of its partner.

    Of an odd number of classes, the smaller half is kept: an image of one class gives way to its partner entirely.

    Attributes:
        void_is_a_class: Whether ignored pixels count as a class. Otherwise they always give way to the partner.
        partner: See `Pasting`.

    Source:
        ClassMix, as in ReCo's mean teacher. Deviation: there, ignored pixels are a class (`void_is_a_class: true`), so
        that padding is pasted over a partner as if it were an object.
    """

    void_is_a_class: bool

    def mask(self, own: Batch, rng: np.random.Generator) -> Tensor:
        """The pixels of the classes that are not kept."""
        return ~class_masks(rng, own.label, self.void_is_a_class)
