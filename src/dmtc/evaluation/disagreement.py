"""A student's view of a pseudo-labelled image: where it disagrees, where it wins, and how much it learns there."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from dmtc.core.types import IGNORE_INDEX, Float32Array, UInt8Array
from dmtc.evaluation import Predictor
from dmtc.losses.terms import ActiveTerm, pixel_weights

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Disagreement:
    """A student's prediction for an image, to compare with its teacher's.

    Attributes:
        label: uint8 (H, W), the student's most probable class.
        confidence: float32 (H, W) in [0, 1], the student's probability of that class.
        weight: float32 (H, W), weight of each pixel in the round's loss if its pseudo-label is kept.
    """

    label: UInt8Array
    confidence: Float32Array
    weight: Float32Array

    def disagrees(self, pseudo_label: UInt8Array) -> BoolArray:
        """Bool (H, W), where the student predicts a class other than the pseudo-label; false at ignored pixels."""
        return (self.label != pseudo_label) & (pseudo_label != IGNORE_INDEX)

    def wins(self, pseudo_label: UInt8Array, teacher_confidence: Float32Array) -> BoolArray:
        """Bool (H, W), where the student disagrees and is more confident than the teacher."""
        return self.disagrees(pseudo_label) & (self.confidence > teacher_confidence)


def disagreement_of(
    predict: Predictor,
    terms: list[ActiveTerm],
    image: UInt8Array,
    label: UInt8Array,
    confidence: Float32Array,
    device: torch.device,
) -> Disagreement:
    """Compare a student with its teacher on one image.

    Args:
        predict: The student.
        terms: The loss terms of the round, from `terms_of_stage`.
        image: uint8 (H, W, 3), RGB.
        label: uint8 (H, W), the teacher's predictions; 255 where there is none.
        confidence: float32 (H, W), the teacher's confidence.
        device: The student's device.
    """
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].to(device)
    teacher_label, teacher_confidence = (torch.from_numpy(of)[None].to(device) for of in (label, confidence))
    with torch.inference_mode():
        logits = predict(batch).float()
        student_confidence, student_label = logits.softmax(dim=1).max(dim=1)
        weight = pixel_weights(terms, logits, teacher_label.long(), teacher_confidence)
    return Disagreement(
        student_label[0].to(torch.uint8).cpu().numpy(),
        student_confidence[0].cpu().numpy(),
        weight[0].float().cpu().numpy(),
    )
