"""One image as a network and its teacher see it after a phase, for loggers to draw."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dmtc.core.types import Float32Array, UInt8Array


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One image after a phase; all arrays have the same size.

    Attributes:
        id: The image's id.
        image: uint8 (H, W, 3), RGB.
        truth: uint8 (H, W), class or 255; None if unknown.
        prediction: uint8 (H, W), class predicted by the network the phase trained.
        pseudo_label: uint8 (H, W), what the network learned from; 255 where the teacher was not confident enough; None
            for a supervised phase.
        confidence: float32 (H, W) in [0, 1], the teacher's; None for a supervised phase.
        weight: float32 (H, W), loss weight of each pixel for the trained network; None for a supervised phase.
        wrong: Share in [0, 1] of the pixels with known truth that have a wrong pseudo-label; None if unknown.
    """

    id: str
    image: UInt8Array
    truth: UInt8Array | None
    prediction: UInt8Array
    pseudo_label: UInt8Array | None = None
    confidence: Float32Array | None = None
    weight: Float32Array | None = None
    wrong: float | None = None

    def in_a_row(self, colored: Callable[[UInt8Array], UInt8Array]) -> UInt8Array:
        """Image, truth, pseudo-label, prediction, confidence and weight from left to right, as far as there are any.

        Args:
            colored: Colors a label, (H, W) to (H, W, 3); `Dataset.colored`.
        """
        labels = [label for label in (self.truth, self.pseudo_label, self.prediction) if label is not None]
        shades = [_gray(values) for values in (self.confidence, self.weight) if values is not None]
        return np.concatenate([self.image, *map(colored, labels), *shades], axis=1)


def _gray(values: Float32Array) -> UInt8Array:
    return np.repeat((np.clip(values, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
