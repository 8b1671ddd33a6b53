"""A teacher that sees every image at several scales and mirrored: the mean probabilities label."""

import pytest
import torch

import dmtc
from dmtc.core.errors import ConfigError
from dmtc.core.types import Batch
from dmtc.engine.average import AveragedWeights
from dmtc.engine.student import Student
from dmtc.engine.teaching import Teaching
from dmtc.machine.processes import ALONE
from shown import teacher


def labelled_by(scales: list[float], flip: bool) -> tuple[Batch, Student]:
    spec = {"name": "linear", "levels": None, "dropout": 0.0, "embedding_channels": 8}
    model = dmtc.models.build_model(spec | {"backbone": {"name": "tiny", "width": 4}}, 3, False, 0)
    rng = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (2, 3, 16, 24), generator=rng, dtype=torch.uint8)
    label = torch.zeros(2, 16, 24, dtype=torch.long)
    label[0, :, 20:] = 255
    batch = Batch(image, label, torch.ones(2, 16, 24), torch.ones(2) > 0, ("a", "b"))
    student = Student(model, [], torch.optim.SGD(model.parameters(), lr=0.1), AveragedWeights(model, 0.9))
    teaching = Teaching(teacher=teacher("average", decay=0.9, scales=scales, flip=flip), processes=ALONE)
    return teaching.of_whole(batch, 0, [student]), student


def probabilities(student: Student, image: torch.Tensor) -> torch.Tensor:
    student.model.eval()
    with torch.no_grad():
        return student.model(image).softmax(dim=1)


def resized(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    values = torch.nn.functional.interpolate(image.float(), size=size, mode="bilinear", align_corners=False)
    return values.round().to(torch.uint8)


def test_several_scales_and_mirror_images_label_by_their_mean_probabilities() -> None:
    taught, student = labelled_by([0.5, 1.5], flip=True)
    parts = []
    for size in ((8, 12), (24, 36)):
        small = resized(taught.image, size)
        for mirrored in (False, True):
            said = student.model.eval().maps(small.flip(-1) if mirrored else small).logits.detach()
            said = said.flip(-1) if mirrored else said
            full = torch.nn.functional.interpolate(said, size=(16, 24), mode="bilinear", align_corners=False)
            parts.append(full.softmax(dim=1))
    confidence, label = torch.stack(parts).mean(dim=0).max(dim=1)
    assert torch.equal(taught.label[0, :, 20:], torch.full((16, 4), 255)), "padding stays without a label"
    kept = taught.label != 255
    assert torch.equal(taught.label[kept], label[kept])
    torch.testing.assert_close(taught.confidence, confidence)


def test_one_look_at_its_own_size_is_the_pass_of_the_network() -> None:
    taught, student = labelled_by([1.0], flip=False)
    confidence, label = probabilities(student, taught.image).max(dim=1)
    kept = taught.label != 255
    assert torch.equal(taught.label[kept], label[kept])
    torch.testing.assert_close(taught.confidence, confidence)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("average", {"scales": []}, r"teacher\.scales should be numbers above 0 and at most 4"),
        ("average", {"scales": [0.0]}, r"teacher\.scales should be numbers above 0 and at most 4"),
        ("average", {"scales": [1.0, 5.0]}, r"teacher\.scales should be numbers above 0 and at most 4"),
        ("self", {"mode": "student", "flip": True}, r"teacher\.scales and teacher\.flip need teacher\.mode=eval"),
        ("peer", {"mode": "student", "scales": [0.5, 1.0]}, r"need teacher\.mode=eval or train"),
    ],
)
def test_impossible_looks_are_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        teacher(name, **({"decay": 0.9} if name == "average" else {}), **options)
