"""Earlier states of a student: when they are taken, that they label, and that they come back from a checkpoint."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import dmtc
from dmtc.batches.mixing import MIXERS
from dmtc.core.errors import ConfigError
from dmtc.core.types import IGNORE_INDEX, Batch, Labels
from dmtc.data.augment.rescale import Rescale
from dmtc.engine.components import Components
from dmtc.engine.showing import Showing
from dmtc.engine.snapshots import StudentSnapshots
from dmtc.engine.step import Step
from dmtc.engine.student import Student
from dmtc.losses import CrossEntropy, SelectedCrossEntropy
from dmtc.losses.terms import ActiveTerm, TermRows
from dmtc.pseudo.snapshots import Snapshots
from shown import teacher, views


def model(seed: int = 0):
    spec = {"name": "linear", "levels": None, "dropout": 0.0, "embedding_channels": 8}
    return dmtc.models.build_model(spec | {"backbone": {"name": "tiny", "width": 4}}, 3, False, seed)


def batch(rows: int = 4) -> Batch:
    rng = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (rows, 3, 16, 16), generator=rng, dtype=torch.uint8)
    label = torch.randint(0, 3, (rows, 16, 16), generator=rng)
    label[: rows // 2] = 0
    label[0, 10:] = IGNORE_INDEX
    pseudo = torch.arange(rows) < rows // 2
    return Batch(image, label, torch.ones(label.shape), pseudo, tuple(map(str, range(rows))))


def student(network, rule: Snapshots) -> Student:
    everything = SelectedCrossEntropy(selection={"name": "everything"}, divisor="valid")
    terms = [
        ActiveTerm("labelled", 1.0, CrossEntropy(), TermRows("labelled")),
        ActiveTerm("previous", 0.5, everything, TermRows("unlabelled", "snapshots")),
    ]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    return Student(network, terms, optimizer, snapshots=StudentSnapshots(network, rule))


def step_of(one: Student, mixer=None) -> Step:
    seen = views(strong=1, passes=[["labelled", "weak"], ["unlabelled"]])
    showing = Showing(2, teacher("self"), None, seen, mixer or MIXERS.build({"name": "none"}))
    return Step([one], batch_size=4, address=(0,), showing=showing)


def test_the_loss_is_that_of_the_labels_of_an_earlier_state():
    one = student(model(), Snapshots(interval=1, most=1, drawn=1))
    step = step_of(one)
    first = step(0, batch(), 0.1)
    assert "previous" not in first.sums, "there is no earlier state yet"
    earlier = copy.deepcopy(one.model).eval()
    with torch.no_grad():
        label = earlier(batch().image[:2]).argmax(1).masked_fill(batch().label[:2] == IGNORE_INDEX, IGNORE_INDEX)
        before = copy.deepcopy(one.model).train()
        before.maps(torch.cat([batch().image[2:], batch().image[:2]]))
        expected = CrossEntropy()(before.maps(batch().image[:2]).logits, label).loss
    second = step(1, batch(), 0.1)
    torch.testing.assert_close(second.sums["previous"], expected)


def test_states_are_those_of_their_steps_and_survive_a_checkpoint():
    one = student(model(), Snapshots(interval=2, most=2, drawn=2))
    step, seen = step_of(one), {}
    for number in range(6):
        step(number, batch(), 0.1)
        seen[number + 1] = copy.deepcopy(one.model.state_dict())
    other = student(model(1), Snapshots(interval=2, most=2, drawn=2))
    other.restore(copy.deepcopy(one.state()))
    assert list(other.snapshots.state()) == [4, 6]
    for done in (4, 6):
        with other.snapshots.in_place(done):
            for name, value in other.model.state_dict().items():
                assert name.endswith("num_batches_tracked") or torch.equal(value, seen[done][name]), name
    values = [step_of(each)(6, batch(), 0.1).sums["previous"] for each in (one, other)]
    assert torch.equal(*values)


@pytest.mark.parametrize("mixing", ["cutmix", "classmix", "cutout", "half_box"])
def test_second_labels_move_with_the_image(mixing):
    spec = dmtc.engine.checks.settle(dmtc.compose([f"mixing={mixing}"]))["mixing"]
    mixer = MIXERS.build(spec | ({"probability": 1.0} if "probability" in spec else {}), num_classes=3)
    own = batch()
    own = replace(own, label=own.label.where(own.label != 0, 1), second=Labels(own.label, own.confidence / 2))
    own = replace(own, second=own.second.map(torch.clone), label=own.label.clone())
    mixed = mixer.mix(own, None, None, np.random.default_rng(0))
    assert not torch.equal(mixed.image, own.image)
    assert torch.equal(mixed.second.confidence, mixed.confidence / 2)
    again = Rescale(scale=[0.5, 0.5], flip=1.0)(mixed, [np.random.default_rng(0)] * 4)
    assert torch.equal(again.second.confidence, again.confidence / 2)
    same = replace(own, second=Labels(own.label, own.confidence))
    mixed = mixer.mix(same, None, None, np.random.default_rng(0))
    assert torch.equal(mixed.seconded().label, mixed.label)


def test_wrong_options_are_told(small):
    with pytest.raises(ConfigError, match=r"teacher\.snapshots\.interval should be a share in \(0, 1\), but is 3"):
        teacher("self", snapshots={"interval": 3, "most": 8, "drawn": 3})
    with pytest.raises(ConfigError, match=r"teacher\.snapshots: missing option 'drawn'"):
        teacher("self", snapshots={"interval": 0.1, "most": 8})
    none = dmtc.compose([*small, "method=prevmatch", "teacher.snapshots=null"])
    components = Components(dmtc.engine.checks.settle(none))
    with pytest.raises(ConfigError, match=r"loss\.previous\S*: target=snapshots, but none are kept"):
        assert components.plan
    with pytest.raises(ConfigError, match=r"loss\.previous\.target=snapshots goes with on: unlabelled, weak or pert"):
        dmtc.engine.checks.settle(dmtc.compose(["method=prevmatch", "loss.previous.on=labelled"]))
