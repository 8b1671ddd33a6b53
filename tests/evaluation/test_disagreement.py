"""A student's prediction beside its teacher's: where it disagrees, and where it wins."""

import numpy as np
import torch

from dmtc.core.types import IGNORE_INDEX
from dmtc.evaluation.disagreement import Disagreement, disagreement_of

LABEL = np.array([[0, 1, 1, IGNORE_INDEX]], np.uint8)
CONFIDENCE = np.array([[0.9, 0.9, 0.5, 0.0]], np.float32)


def test_a_student_wins_where_it_disagrees_and_is_surer():
    student = Disagreement(
        label=np.array([[0, 0, 0, 0]], np.uint8),
        confidence=np.array([[1.0, 0.8, 0.8, 0.8]], np.float32),
        weight=np.ones((1, 4), np.float32),
    )
    assert student.disagrees(LABEL).tolist() == [[False, True, True, False]]
    wins = student.wins(LABEL, CONFIDENCE)
    assert wins.dtype == bool
    assert wins.tolist() == [[False, False, True, False]]


def test_it_is_the_students_own_prediction():
    logits = torch.tensor([[2.0, 0.0, 0.0, 0.0], [0.0, 3.0, 0.0, 0.0]])[None, :, None]
    image = np.zeros((1, 4, 3), np.uint8)
    student = disagreement_of(lambda images: logits, [], image, LABEL, CONFIDENCE, torch.device("cpu"))
    assert student.label.tolist() == [[0, 1, 0, 0]]
    np.testing.assert_allclose(student.confidence, logits.softmax(1).amax(1)[0].numpy())
    assert student.weight.tolist() == [[1, 1, 1, 0]], "no term weighs pixels"
