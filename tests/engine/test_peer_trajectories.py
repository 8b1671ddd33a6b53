"""Six steps of the online methods by the library's own step give the losses and networks of their published loops."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dmtc.batches.mixing import Mixer
from dmtc.core.types import IGNORE_INDEX, Batch, Maps
from dmtc.engine.average import AveragedWeights
from dmtc.engine.showing import Showing
from dmtc.engine.step import Step
from dmtc.engine.student import Student
from dmtc.losses import CrossEntropy, SelectedCrossEntropy
from dmtc.losses.terms import ActiveTerm, TermRows
from shown import teacher, views

GOLDEN = Path(__file__).parents[1] / "golden" / "peers"
STEPS = 6


class Toy(nn.Module):
    """The small network of the golden files, with weights by their rule."""

    def __init__(self, base: int, channels: int = 8, classes: int = 4, representation: bool = False) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(channels, classes, 1)
        self.rep = nn.Conv2d(channels, 5, 1) if representation else None
        with torch.no_grad():
            for number, parameter in enumerate(self.parameters()):
                if parameter.dim() == 4:
                    draws = np.random.default_rng(base + number).standard_normal(tuple(parameter.shape))
                    parameter.copy_(torch.from_numpy(draws * np.sqrt(2 / parameter[0].numel())))
                else:
                    parameter.fill_(float(parameter is self.backbone[1].weight or parameter is self.backbone[4].weight))

    def maps(self, images: Tensor, embedding: bool = False) -> Maps:
        return Maps(self.head(self.backbone((images.float() / 255 - 0.5) / 0.25)))


@dataclass(frozen=True, kw_only=True)
class GivenMasks(Mixer):
    """Pastes where the golden file says, from further rows, from the reversed batch or from the next row."""

    masks: list = field(default_factory=list)
    partner: str

    @property
    def extra_rows(self):
        return "other_batch" if self.partner == "extra" else None

    def mix(self, own: Batch, extra: Batch | None, labelled: Batch | None, rng: np.random.Generator) -> Batch:
        count = len(own.ids)
        rows = {"reversed": list(range(count))[::-1], "next": [*range(1, count), 0], "extra": list(range(count))}
        other = extra if self.partner == "extra" else own
        return own.pasted(self.masks.pop(0), other.ordered(rows[self.partner]))


class GivenImages:
    """Colors by handing out the golden file's strong views in order."""

    def __init__(self) -> None:
        self.images: list[Tensor] = []

    def __call__(self, images: Tensor, rngs: Sequence[np.random.Generator]) -> Tensor:
        return self.images.pop(0)


def tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def batch_of(unlabelled: Sequence[tuple[np.ndarray, np.ndarray | None]], image: np.ndarray, label: np.ndarray) -> Batch:
    """Unlabelled crops with their padding, then labelled ones."""
    images = [tensor(each) for each, _ in unlabelled] + [tensor(image)]
    empty = [np.zeros(each.shape[0:1] + each.shape[2:], np.int64) if pad is None else pad for each, pad in unlabelled]
    labels = [tensor(np.where(each == IGNORE_INDEX, IGNORE_INDEX, 0).astype(np.int64)) for each in empty]
    labels.append(tensor(np.where(label < 0, IGNORE_INDEX, label.astype(np.int64))))
    images, labels = torch.cat(images), torch.cat(labels)
    pseudo = torch.arange(len(images)) < len(images) - len(image)
    return Batch(images, labels, torch.zeros(labels.shape), pseudo, tuple(map(str, range(len(images)))))


def sgd(model: Toy, rate: float, decay: float, head: float = 1.0, nesterov: bool = False, spare: bool = False):
    """SGD with momentum 0.9: the head's rate is a multiple; norms and biases may be spared from decay."""
    groups = []
    for name, parameter in model.named_parameters():
        scale = 1.0 if name.startswith("backbone") else head
        own = 0.0 if spare and parameter.dim() == 1 else decay
        groups.append({"params": [parameter], "lr_scale": scale, "weight_decay": own})
    return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=nesterov)


def supervised(weight: float) -> ActiveTerm:
    return ActiveTerm("supervised", weight, CrossEntropy(), TermRows("labelled"))


def unlabelled(weight: float, selection: dict, divisor: str = "valid", rows: TermRows | None = None) -> ActiveTerm:
    loss = SelectedCrossEntropy(selection=selection, divisor=divisor)
    return ActiveTerm("unlabelled", weight, loss, rows or TermRows("unlabelled"))


def probe(model: Toy, golden, average: AveragedWeights | None = None) -> Tensor:
    model.eval()
    with torch.no_grad():
        if average is None:
            return model.maps(tensor(golden["probe"])).logits
        with average.in_place():
            return model.maps(tensor(golden["probe"])).logits


def poly(step: int, offset: int) -> float:
    return (1 - max(0, step - offset) / STEPS) ** 0.9


def agree(values: list, golden, columns: dict[str, int]) -> None:
    assert len(values) == STEPS
    for name, column in columns.items():
        assert [float(each.sums[name]) for each in values] == pytest.approx(golden["losses"][:, column], rel=2e-5), name


def test_fixmatch_as_unimatch_runs_it():
    golden = np.load(GOLDEN / "trajectory_fixmatch_v1.npz")
    rate, threshold = float(golden["lr"]), float(golden["threshold"])
    model, color = Toy(int(golden["weight_base"])).train(), GivenImages()
    terms = [supervised(0.5), unlabelled(0.5, {"name": "threshold", "threshold": threshold})]
    optimizer = sgd(model, rate, float(golden["weight_decay"]), float(golden["lr_multi"]))
    mixer = GivenMasks(partner="extra")
    shown = views(strong=1, color=color, passes=[["labelled", "weak"], ["unlabelled"]])
    step = Step(
        [Student(model, terms, optimizer)],
        batch_size=4,
        address=(0,),
        showing=Showing(2, teacher("self"), None, shown, mixer),
    )
    values = []
    for i in range(STEPS):
        weak = [
            (golden["img_u_w"][i], golden["ignore_mask"][i]),
            (golden["img_u_w_mix"][i], golden["ignore_mask_mix"][i]),
        ]
        color.images = [tensor(golden["img_u_s"][i]), tensor(golden["img_u_s_mix"][i])]
        mixer.masks.append(tensor(golden["cutmix_box"][i] == 1))
        batch = batch_of(weak, golden["img_x"][i], golden["label"][i])
        values.append(step(i, batch, rate * poly(i, offset=1)))
    agree(values, golden, {"loss": 0, "supervised": 1, "unlabelled": 2})
    torch.testing.assert_close(probe(model, golden), tensor(golden["probe_logits"]), rtol=0, atol=1e-4)
    torch.testing.assert_close(model.backbone[1].running_mean, tensor(golden["running_mean"]), rtol=0, atol=1e-5)
    torch.testing.assert_close(model.backbone[1].running_var, tensor(golden["running_var"]), rtol=0, atol=1e-5)


def test_unimatch_v2_without_its_dropout():
    golden = np.load(GOLDEN / "trajectory_unimatch_v2.npz")
    rate = float(golden["lr"])
    model, color = Toy(int(golden["weight_base"])).train(), GivenImages()
    terms = [supervised(0.5), unlabelled(0.5, {"name": "threshold", "threshold": float(golden["threshold"])})]
    groups = [
        {"params": list(model.backbone.parameters()), "lr_scale": 1.0},
        {"params": list(model.head.parameters()), "lr_scale": float(golden["lr_multi"])},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.999), weight_decay=float(golden["weight_decay"]))
    average, mixer = AveragedWeights(model, 0.996), GivenMasks(partner="reversed")
    shown = views(strong=2, color=color, passes=[["labelled"], ["unlabelled"]])
    showing = Showing(2, teacher("average", decay=0.996), None, shown, mixer)
    step = Step([Student(model, terms, optimizer, average)], batch_size=4, address=(0,), showing=showing)
    values = []
    for i in range(STEPS):
        color.images = [tensor(golden[name][i]) for name in ("img_u_s1", "img_u_s2")]
        mixer.masks.extend([tensor(golden[name][i] == 1) for name in ("cutmix_box1", "cutmix_box2")])
        batch = batch_of([(golden["img_u_w"][i], golden["ignore_mask"][i])], golden["img_x"][i], golden["label"][i])
        values.append(step(i, batch, rate * poly(i, offset=1)))
    agree(values, golden, {"loss": 0, "supervised": 1})
    both = golden["losses"][:, 2:4].mean(axis=1)
    assert [float(each.sums["unlabelled"]) for each in values] == pytest.approx(both, rel=2e-5)
    torch.testing.assert_close(probe(model, golden), tensor(golden["probe_logits"]), rtol=0, atol=1e-4)
    expected = tensor(golden["probe_logits_teacher"])
    torch.testing.assert_close(probe(model, golden, average), expected, rtol=0, atol=1e-4)
    with average.in_place():
        mean = model.backbone[1].running_mean.clone()
    torch.testing.assert_close(mean, tensor(golden["teacher_running_mean"]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("mixing", ["cutmix", "classmix"])
def test_the_mean_teacher_of_reco(mixing):
    golden = np.load(GOLDEN / f"trajectory_mean_teacher_{mixing}.npz")
    rate, decay = float(golden["lr"]), float(golden["ema"])
    model = Toy(int(golden["weight_base"]), representation=True).train()
    share = {"name": "image_share", "threshold": float(golden["threshold"]), "count_ignored": True}
    terms = [supervised(1.0), unlabelled(1.0, share, "ce_positive")]
    optimizer = sgd(model, rate, float(golden["weight_decay"]), nesterov=bool(golden["nesterov"]))
    average, mixer = AveragedWeights(model, decay, buffers="own"), GivenMasks(partner="next")
    labels = teacher("average", decay=decay, mode="train", buffers="own")
    shown = views(strong=1, passes=[["labelled"], ["unlabelled"]])
    student = Student(model, terms, optimizer, average)
    step = Step([student], batch_size=4, address=(0,), showing=Showing(2, labels, None, shown, mixer))
    values = []
    for i in range(STEPS):
        mixer.masks.append(tensor(golden["mix_mask"][i] == 0))
        batch = batch_of([(golden["img_u"][i], None)], golden["img_x"][i], golden["label"][i])
        values.append(step(i, batch, rate))
    agree(values, golden, {"loss": 0, "supervised": 1, "unlabelled": 2})
    torch.testing.assert_close(probe(model, golden), tensor(golden["probe_logits"]), rtol=0, atol=1e-4)
    expected = tensor(golden["probe_logits_teacher"])
    torch.testing.assert_close(probe(model, golden, average), expected, rtol=0, atol=1e-4)
    mean = tensor(golden["student_running_mean"])
    torch.testing.assert_close(model.backbone[1].running_mean, mean, rtol=0, atol=1e-5)
    with average.in_place():
        mean = model.backbone[1].running_mean.clone()
    torch.testing.assert_close(mean, tensor(golden["teacher_running_mean"]), rtol=0, atol=1e-5)


def two_students(golden, rows: TermRows) -> list[Student]:
    students = []
    for name, base in (("a", "weight_base"), ("b", "weight_base_2")):
        model = Toy(int(golden[base])).train()
        optimizer = sgd(model, float(golden["lr"]), float(golden["weight_decay"]), spare=True)
        terms = [supervised(1.0), unlabelled(float(golden["cps_weight"]), {"name": "everything"}, rows=rows)]
        students.append(Student(model, terms, optimizer, name=name))
    return students


def agree_on_peers(students: list[Student], values: list, golden) -> None:
    agree(values, golden, {"loss": 0, "a/supervised": 1, "b/supervised": 2})
    cps = [
        float(golden["cps_weight"]) * float(each.sums["a/unlabelled"] + each.sums["b/unlabelled"]) for each in values
    ]
    assert cps == pytest.approx(golden["losses"][:, 3], rel=2e-5)
    assert int(students[0].model.backbone[1].num_batches_tracked) == int(golden["num_batches_1"])
    for number, student in enumerate(students, 1):
        expected = tensor(golden[f"probe_logits_{number}"])
        torch.testing.assert_close(probe(student.model, golden), expected, rtol=0, atol=1e-4)


def test_cross_pseudo_supervision():
    golden = np.load(GOLDEN / "trajectory_cps.npz")
    students = two_students(golden, TermRows("all", "teacher_everywhere"))
    showing = Showing(2, teacher("peer"), None, views(passes=[["labelled"], ["unlabelled"]]))
    step = Step(students, batch_size=4, address=(0,), showing=showing)
    values = []
    for i in range(STEPS):
        batch = batch_of([(golden["img_u0"][i], None)], golden["img_x"][i], golden["label"][i])
        values.append(step(i, batch, float(golden["lr"]) * poly(i, offset=0)))
    agree_on_peers(students, values, golden)


def test_cross_pseudo_supervision_with_cutmix():
    golden = np.load(GOLDEN / "trajectory_cps_cutmix.npz")
    students, mixer = two_students(golden, TermRows("unlabelled")), GivenMasks(partner="extra")
    shown = views(strong=1, passes=[["unlabelled"], ["labelled"]])
    step = Step(
        students, batch_size=4, address=(0,), showing=Showing(2, teacher("peer", mode="train"), None, shown, mixer)
    )
    values = []
    for i in range(STEPS):
        mixer.masks.extend(2 * [tensor(golden["mask"][i, :, 0] == 1)])
        weak = [(golden["img_u0"][i], None), (golden["img_u1"][i], None)]
        batch = batch_of(weak, golden["img_x"][i], golden["label"][i])
        values.append(step(i, batch, float(golden["lr"]) * poly(i, offset=0)))
    agree_on_peers(students, values, golden)


def test_the_toy_differs_without_its_teacher():
    """The trajectories would notice who labels: with the student in place of the average, they come out otherwise."""
    golden = np.load(GOLDEN / "trajectory_mean_teacher_cutmix.npz")
    model = Toy(int(golden["weight_base"]), representation=True).train()
    share = {"name": "image_share", "threshold": float(golden["threshold"]), "count_ignored": True}
    terms = [supervised(1.0), unlabelled(1.0, share, "ce_positive")]
    mixer = GivenMasks(partner="next")
    optimizer = sgd(model, float(golden["lr"]), float(golden["weight_decay"]), nesterov=True)
    showing = Showing(
        2, teacher("self", mode="eval"), None, views(strong=1, passes=[["labelled"], ["unlabelled"]]), mixer
    )
    step = Step([Student(model, terms, optimizer)], batch_size=4, address=(0,), showing=showing)
    losses = []
    for i in range(STEPS):
        mixer.masks.append(tensor(golden["mix_mask"][i] == 0))
        batch = batch_of([(golden["img_u"][i], None)], golden["img_x"][i], golden["label"][i])
        losses.append(float(step(i, replace(batch), float(golden["lr"])).sums["loss"]))
    assert losses != pytest.approx(golden["losses"][:, 0], rel=1e-3)
