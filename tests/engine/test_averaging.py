"""Averaged weights: their numbers, and that they are what is scored, kept and handed on, across interruptions too."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import dmtc
import dmtc.engine.step
from alike import what_came_of
from dmtc.core.errors import ConfigError
from dmtc.engine.average import AveragedWeights
from dmtc.engine.checks import settle
from dmtc.models import build_model, read_weights

SPEC = {
    "name": "deeplabv2",
    "aspp_rates": [1, 2],
    "aspp_branches": 1,
    "embedding_channels": 8,
    "backbone": {"name": "tiny", "width": 4},
}


def test_the_average_by_hand():
    model = build_model(SPEC, 3, projection=False, seed=0)
    weight, mean = model.backbone.stem[0].weight, model.backbone.stem[1].running_mean
    average = AveragedWeights(model, decay=0.6)
    expected = {}
    for step in range(1, 6):
        with torch.no_grad():
            weight += step
            mean += 2 * step
        average.update(step)
        keep = min(0.6, 1 - 1 / step)
        for name, value in (("weight", weight), ("mean", mean)):
            expected[name] = keep * expected.get(name, 0.0) + (1 - keep) * value.detach().double()
    last = weight.detach().clone()
    unused = model.classifier.convs[1].weight.clone()
    address = weight.data_ptr()
    with average.in_place():
        torch.testing.assert_close(weight.detach().double(), expected["weight"])
        torch.testing.assert_close(mean.double(), expected["mean"])
        assert torch.equal(model.classifier.convs[1].weight, unused)
    assert torch.equal(weight, last)
    assert weight.data_ptr() == address


def test_an_error_while_they_are_in_place_puts_the_weights_back():
    model = build_model(SPEC, 3, projection=False, seed=0)
    average = AveragedWeights(model, decay=0.5)
    with torch.no_grad():
        model.backbone.stem[0].weight += 1
    last = model.backbone.stem[0].weight.detach().clone()
    with pytest.raises(KeyboardInterrupt), average.in_place():
        raise KeyboardInterrupt
    assert torch.equal(model.backbone.stem[0].weight, last)


@pytest.fixture(scope="module")
def short(small) -> list[str]:
    return [
        *small,
        "method=dmt",
        "model.backbone.width=4",
        "schedule.rounds.label_ratios=[0.5]",
        "schedule.limit_steps=4",
        "schedule.start.evaluations=2",
        "run.label_batch=2",
        "run.checkpoint_minutes=0",
    ]


@pytest.fixture(scope="module")
def averaged(short, tmp_path_factory):
    return dmtc.train(dmtc.compose([*short, "teacher.decay=0.7"]), tmp_path_factory.mktemp("ema") / "run")


def test_what_is_kept_is_the_average_of_the_steps(short, averaged, tmp_path, monkeypatch):
    """A decay near 1 is the plain mean of the first phase's four steps, whose weights a run without it leaves."""
    seen = []
    update = AveragedWeights.update

    def watched(self, step):
        update(self, step)
        seen.append(self._network[0].detach().double().clone())

    monkeypatch.setattr(AveragedWeights, "update", watched)
    run = dmtc.train(dmtc.compose([*short, "teacher.decay=0.999", "schedule=supervised"]), tmp_path / "mean")
    kept = read_weights(run.folder.weights_path("r0-a", "last"))
    first = next(iter(dict(run.model("a").named_parameters())))
    torch.testing.assert_close(kept[first].double(), torch.stack(seen[:4]).mean(dim=0))
    plain = dmtc.train(dmtc.compose([*short, "schedule=supervised"]), tmp_path / "plain")
    last = read_weights(plain.folder.weights_path("r0-a", "last"))[first].double()
    torch.testing.assert_close(last, seen[3], rtol=0, atol=0)  # training itself goes the same way


def test_scores_are_of_the_averages(averaged):
    """Scored again from the files, the run gives the scores that it gave while training."""
    from dmtc.engine.context import RunContext
    from dmtc.engine.scoring import score_last
    from dmtc.tracking.progress import Progress

    progress = Progress([], "off")
    context = RunContext(averaged.components, averaged.folder, progress)
    scores = score_last(context, averaged.components.evaluation)
    records = {record["name"]: record for record in averaged.results["phases"]}
    for network in averaged.networks:
        last = [p.name for p in averaged.plan if p.trainee == network][-1]
        assert scores[network].miou == records[last]["miou_last"]


@pytest.mark.parametrize("call", [3, 7, 14])
def test_a_stopped_run_goes_on_with_its_averages_to_the_same_results(short, averaged, tmp_path, monkeypatch, call):
    real, calls = dmtc.engine.step.total_loss, []

    def failing(terms, inputs):
        calls.append(1)
        if len(calls) == call:
            raise ZeroDivisionError
        return real(terms, inputs)

    with monkeypatch.context() as patch:
        patch.setattr(dmtc.engine.step, "total_loss", failing)
        with pytest.raises(ZeroDivisionError):
            dmtc.train(dmtc.compose([*short, "teacher.decay=0.7"]), tmp_path / "stopped")
    dmtc.resume(tmp_path / "stopped")
    assert what_came_of(tmp_path / "stopped") == what_came_of(averaged.folder.path)


def test_off_by_default(short, averaged):
    assert settle(dmtc.compose(short))["teacher"]["decay"] is None


@pytest.mark.parametrize("decay", [0, 1, 1.0, -0.5, "high"])
def test_impossible_decays(decay):
    expected = r"teacher\.decay should be (a number between 0 and 1, such as 0\.99, or null|float \| None), but is"
    with pytest.raises(ConfigError, match=expected):
        settle(dmtc.compose([f"teacher.decay={decay}"]))


PEERS = Path(__file__).parents[1] / "golden" / "peers"


class Followed(nn.Module):
    """Eight weights and the statistics of two channels, as in the golden file."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8))
        self.norm = nn.BatchNorm2d(2, affine=False)

    def become(self, golden, row: int) -> None:
        with torch.no_grad():
            self.weight.copy_(torch.from_numpy(golden["student_params"][row]))
            self.norm.running_mean.copy_(torch.from_numpy(golden["student_running_mean"][row]))
            self.norm.running_var.copy_(torch.from_numpy(golden["student_running_var"][row]))
            self.norm.num_batches_tracked.fill_(row + 1)

    def values(self) -> np.ndarray:
        parts = (self.weight, self.norm.running_mean, self.norm.running_var, self.norm.num_batches_tracked[None])
        return torch.cat([part.detach().double() for part in parts]).numpy()


@pytest.mark.parametrize(
    ("name", "settings", "first"),
    [
        ("v2", {"decay": 0.996}, 0),
        ("reco", {"decay": 0.99, "buffers": "own"}, 0),
        ("augseg_sup0", {"decay": 0.999, "copy_steps": 4}, 0),
        ("u2pl_sup0", {"decay": 0.99, "buffers": "own", "copy_steps": 4}, 0),
        ("u2pl_sup1", {"decay": 0.99, "buffers": "own", "copy_steps": 4}, 4),
    ],
)
def test_averages_follow_as_in_the_published_code(name, settings, first):
    """Where U2PL's teacher shares its student's storage by mistake, ours is a copy: the same. Counters are left out."""
    golden = np.load(PEERS / "ema_teachers.npz")
    model = Followed()
    model.become(golden, 0)
    average = AveragedWeights(model, **settings)
    expected = golden[f"{name}_teacher"]
    assert len(expected) == 11
    compared = 8 if name.startswith("u2pl") else 12  # U2PL's statistics are shared at first
    for row in range(first, 11):
        model.become(golden, row + 1)
        average.update(row - first + 1)
        with average.in_place():
            assert model.values()[:compared] == pytest.approx(expected[row][:compared], abs=1e-6), row


def test_integer_buffers_are_those_of_the_network():
    """UniMatch V2 averages them, so that they fall by one a step."""
    golden = np.load(PEERS / "ema_teachers.npz")
    before, after = golden["v2_integer_buffer_before"], golden["v2_integer_buffer_after_60_steps"]
    assert (before != after).mean() > 0.5, "the defect is in the golden file"
    model = Followed()
    model.register_buffer("index", torch.from_numpy(before))
    average = AveragedWeights(model, 0.996)
    for step in range(60):
        average.update(step + 1)
    with average.in_place():
        assert model.index.numpy().tolist() == before.tolist()
