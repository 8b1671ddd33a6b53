"""One image as a network and its teacher see it after a phase: what loggers draw."""

from dataclasses import dataclass

from dmtc.core.types import Float32Array, UInt8Array


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One image after a phase; all arrays are of one size.

    Attributes:
        id: The image's name.
        image: uint8 (H, W, 3), RGB.
        truth: uint8 (H, W), class or 255; None where it is not known.
        prediction: uint8 (H, W), class, of the network that the phase has trained.
        pseudo_label: uint8 (H, W), what it learned from, 255 where the teacher was not sure enough; None in a
            supervised start.
        confidence: float32 (H, W) in [0, 1], the teacher's; None in a supervised start.
        weight: float32 (H, W), how much the trained network would learn from each pixel; None in a supervised start.
        wrong: Share of the pixels of known truth in [0, 1] that have a wrong pseudo-label; None where not known.
    """

    id: str
    image: UInt8Array
    truth: UInt8Array | None
    prediction: UInt8Array
    pseudo_label: UInt8Array | None = None
    confidence: Float32Array | None = None
    weight: Float32Array | None = None
    wrong: float | None = None
