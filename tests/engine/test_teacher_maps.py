"""Terms that compare the student's maps with those of the teacher, of the images that the student sees."""

import copy

import torch

import dmtc
from dmtc.batches.mixing import MIXERS
from dmtc.core.types import Batch
from dmtc.engine.average import AveragedWeights
from dmtc.engine.showing import Showing
from dmtc.engine.step import Step
from dmtc.engine.student import Student
from dmtc.losses.terms import ActiveTerm, TermRows
from shown import teacher, views


def test_the_teacher_sees_the_mixed_images_in_its_own_mode():
    spec = {"name": "linear", "levels": None, "dropout": 0.0, "embedding_channels": 8}
    model = dmtc.models.build_model(spec | {"backbone": {"name": "tiny", "width": 4}}, 3, True, 0)
    rng = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (4, 3, 16, 16), generator=rng, dtype=torch.uint8)
    label = torch.zeros(4, 16, 16, dtype=torch.long)
    batch = Batch(image, label, torch.ones(4, 16, 16), torch.arange(4) < 2, tuple("abcd"))
    seen = []

    def compared(logits, embedding, teacher_maps):
        seen.append((logits.detach(), embedding.detach(), teacher_maps))
        return logits.mean() + embedding.mean()

    terms = [ActiveTerm("compared", 1.0, compared, TermRows("all"))]
    average = AveragedWeights(model, 0.9)
    student = Student(model, terms, torch.optim.SGD(model.parameters(), lr=0.1), average)
    mixer = MIXERS.build({"name": "half_box", "probability": 1.0, "per": "image", "partner": "next"})
    showing = Showing(2, teacher("average", decay=0.9), None, views(strong=1), mixer)
    step = Step([student], batch_size=4, address=(0,), showing=showing)
    step(0, batch, 0.1)
    with average.in_place():
        before = copy.deepcopy(model).eval()
    step(1, batch, 0.1)
    logits, embedding, theirs = seen[1]
    assert theirs.logits.shape == logits.shape
    assert theirs.embedding.shape == embedding.shape
    assert not theirs.logits.requires_grad
    with torch.no_grad():
        labelled = before.maps(image[2:], embedding=True)
        weak = before.maps(image[:2], embedding=True)
    torch.testing.assert_close(theirs.logits[2:], labelled.logits)
    torch.testing.assert_close(theirs.embedding[2:], labelled.embedding)
    assert not torch.allclose(theirs.logits[:2], weak.logits), "they are mixed"
    assert model.training
