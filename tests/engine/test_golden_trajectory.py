"""Twelve steps of mutual training by the library's own step give the losses and the network of the published loop."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from dmtc.core.types import IGNORE_INDEX, Batch
from dmtc.engine.step import Step
from dmtc.engine.student import Student
from dmtc.losses import DynamicMutualLoss
from dmtc.losses.terms import ActiveTerm
from dmtc.schedule import OPTIMIZERS, RATES
from published import GOLDEN, published_model

STEPS = 12
RATE = 0.001
FINAL_IMAGES = 999  # number of the "step" whose images the trained network is tried on


def images(step: int, generator: np.random.Generator | None = None) -> torch.Tensor:
    generator = generator or np.random.default_rng(500 + step)
    return torch.from_numpy(generator.standard_normal((4, 3, 65, 65)).astype(np.float32))


def batch(step: int) -> Batch:
    """Three pseudo-labelled images and one labelled image, by the rule of the golden file."""
    generator = np.random.default_rng(500 + step)
    image = images(step, generator)
    label = generator.integers(0, 21, (4, 5, 5)).repeat(13, axis=1).repeat(13, axis=2)
    label[generator.random(label.shape) < 0.15] = IGNORE_INDEX
    confidence = generator.uniform(0.05, 1, label.shape).astype(np.float32)
    confidence[3] = 1
    is_pseudo = torch.tensor([True, True, True, False])
    return Batch(image, torch.from_numpy(label), torch.from_numpy(confidence), is_pseudo, ("w", "x", "y", "z"))


def batches() -> Iterator[Batch]:
    return (batch(step) for step in range(STEPS))


def test_losses_rates_and_final_network_equal_the_published_ones() -> None:
    golden = np.load(GOLDEN / "mutual_trajectory.npz")
    model = published_model()
    sgd = {"name": "sgd", "momentum": 0.9, "weight_decay": 5e-4, "nesterov": False, "decay_vectors": True}
    optimizer = OPTIMIZERS.build(sgd, parameters=model.parameters(), learning_rate=RATE)
    poly = RATES.build({"name": "poly", "power": 0.9, "offset": 0}, steps=STEPS)
    terms = [ActiveTerm("mutual", 1.0, DynamicMutualLoss(gamma_agree=5.0, gamma_disagree=5.0))]
    step = Step([Student(model, terms, optimizer)], batch_size=4, address=(0, "r1-a"))
    model.train()
    logged: list[dict[str, float]] = []
    for number, one in enumerate(batches()):
        rate = RATE * poly(number / STEPS)
        values = step(number, one, rate)
        logged.append({name: float(value) for name, value in values.sums.items()} | {"learning_rate": rate})

    assert len(logged) == STEPS
    assert [values["learning_rate"] for values in logged] == pytest.approx(golden["lr"], rel=1e-5)
    assert [values["loss"] for values in logged] == pytest.approx(golden["loss"], rel=1e-3)

    pseudo = [int((batch(step).label[:3] != IGNORE_INDEX).sum()) for step in range(STEPS)]
    for name, column in (("disagree", 0), ("student_wins", 1)):
        counts = [values[f"mutual/{name}"] * count for values, count in zip(logged, pseudo, strict=True)]
        # Near-ties of the student's two best classes may fall either way by rounding: a few of ten thousand pixels.
        assert counts == pytest.approx(golden["stats"][:, column], abs=5), name

    with torch.inference_mode():
        logits = model.eval().maps(images(FINAL_IMAGES)).logits
    torch.testing.assert_close(logits, torch.from_numpy(golden["final_out"]), rtol=0, atol=1e-2)
