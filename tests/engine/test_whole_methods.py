"""Methods with more than labels of one teacher: their runs train, and go on to the same results wherever they stop."""

import json

import pytest

import dmtc
import dmtc.engine.step
import dmtc.engine.stored_labels
from alike import what_came_of
from dmtc.core.errors import DataError
from marks import slow_but

METHODS = {
    "st": ["schedule.limit_steps=3"],
    "st_plus_plus": ["schedule.limit_steps=3"],
    "prevmatch": ["schedule.limit_steps=8", "teacher.snapshots.interval=0.25", "teacher.snapshots.most=2"],
    "corrmatch": ["schedule.limit_steps=4", "loss.propagated.num_regions=6", "loss.propagated.start=0.2"],
    "u2pl": [
        "schedule.limit_steps=5",
        "loss.contrastive.bank_size=60",
        "loss.contrastive.bank_size_of_first=80",
        "loss.contrastive.low_rank=1",
        "loss.contrastive.high_rank=6",
        "loss.contrastive.same_label=false",
        "loss.contrastive.min_probability=0.0",
    ],
}
"""Overrides of a short run of each, besides those of `small`."""


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    """The settings and the run folder of a method, trained once."""
    done = {}

    def trained(method):
        if method not in done:
            settings = [*small, f"method={method}", "model.backbone.width=4", *METHODS[method]]
            settings += ["run.checkpoint_minutes=0", "run.log_every=1"]
            run = dmtc.train(dmtc.compose(settings), tmp_path_factory.mktemp("run") / method)
            done[method] = settings, run, what_came_of(run.folder.path)
        return done[method]

    return trained


@pytest.mark.sampled(2)
@pytest.mark.parametrize("method", METHODS)
def test_every_term_of_every_phase_learns_something_finite(whole, method):
    _, run, _ = whole(method)
    logged = [json.loads(line) for line in run.folder.metrics_path.read_text().splitlines()]
    assert [phase.name for phase in run.plan] == [record["name"] for record in run.results["phases"]]
    assert all(isinstance(record["loss"], float) for record in logged if "loss" in record)
    assert {record["phase"] for record in logged if record.get("loss", 0) > 0} == {phase.name for phase in run.plan}


@pytest.mark.parametrize("method", slow_but(METHODS, quick=["st_plus_plus", "corrmatch"]))
def test_a_stopped_run_goes_on_to_the_same_results(whole, method, tmp_path, monkeypatch):
    settings, run, undisturbed = whole(method)
    steps = sum(phase.steps for phase in run.plan)
    for stop in sorted({2, steps // 2 + 1, steps}):
        with monkeypatch.context() as patch:
            real, calls = dmtc.engine.step.total_loss, []

            def failing(terms, inputs, real=real, calls=calls, stop=stop):
                calls.append(1)
                if len(calls) == stop:
                    raise ZeroDivisionError
                return real(terms, inputs)

            patch.setattr(dmtc.engine.step, "total_loss", failing)
            with pytest.raises(ZeroDivisionError):
                dmtc.train(dmtc.compose(settings), tmp_path / str(stop))
        dmtc.resume(tmp_path / str(stop))
        assert what_came_of(tmp_path / str(stop)) == undisturbed, stop


def test_reliable_images_come_first_and_keep_their_labels(whole):
    _, run, _ = whole("st_plus_plus")
    ranking = json.loads((run.folder.path / "phases" / "r0-a" / "ranking.json").read_text())
    order = sorted(ranking["reliability"], key=lambda id: (-ranking["reliability"][id], id))
    unlabelled = run.split.unlabelled
    assert sorted(order) == sorted(unlabelled)
    reliable = set(order[: len(order) // 2])
    assert {label.id for label in run.pseudo_labels("r1-a")} == reliable
    assert {label.id for label in run.pseudo_labels("r2-a")} == set(unlabelled)
    first, second = run.folder.store("r0-a"), run.folder.store("r1-a")
    assert {id for id in unlabelled if id in first} == reliable
    for id in unlabelled:
        ours, theirs = second.read(id), first.read(id) if id in reliable else None
        assert theirs is None or all((a == b).all() for a, b in zip(ours, theirs, strict=True))
    assert (second.histogram().sum() - first.histogram().sum()) * 2 > second.histogram().sum() * 0.9


@pytest.mark.parametrize("stop", ["write_ranking", "label_images"])
def test_a_run_that_stops_between_phases_goes_on(whole, tmp_path, monkeypatch, stop):
    settings, _, undisturbed = whole("st_plus_plus")

    def failing(*arguments):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(dmtc.engine.stored_labels, stop, failing)
        with pytest.raises(ZeroDivisionError):
            dmtc.train(dmtc.compose(settings), tmp_path / "run")
    dmtc.resume(tmp_path / "run")
    assert what_came_of(tmp_path / "run") == undisturbed


def test_a_phase_goes_on_only_with_the_ranking_that_it_began_with(whole, tmp_path, monkeypatch):
    settings, _, _ = whole("st_plus_plus")
    with monkeypatch.context() as patch:
        real, calls = dmtc.engine.step.total_loss, []

        def failing(terms, inputs):
            calls.append(1)
            if len(calls) == 6:
                raise ZeroDivisionError
            return real(terms, inputs)

        patch.setattr(dmtc.engine.step, "total_loss", failing)
        with pytest.raises(ZeroDivisionError):
            dmtc.train(dmtc.compose(settings), tmp_path / "run")
    folder = dmtc.Run.load(tmp_path / "run").folder
    dmtc.run.ranking.write_ranking(
        folder,
        "r0-a",
        folder.read_ranking("r0-a")["weights"],
        {id: 1 - value for id, value in folder.read_ranking("r0-a")["reliability"].items()},
    )
    with pytest.raises(DataError, match="phase r1-a was made with another ranking than there is now"):
        dmtc.resume(tmp_path / "run")
