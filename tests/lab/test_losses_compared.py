"""Losses that are tuned on val and compared with one another."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from laboratory import Done, Notes

from kd.distillation.tracker import tracked_by
from kd.evaluation.scores import Scores
from kd.lab import losses
from kd.lab.names import ExperimentName
from kd.lab.setup import Setup

CarriedOut = Callable[[ExperimentName], Done]


def test_each_loss_is_tuned_in_as_many_trainings_of_other_settings() -> None:
    assert {len(candidates) for candidates in losses.CANDIDATES.values()} == {3}
    for name, candidates in losses.CANDIDATES.items():
        assert len({losses.tuning(name, one) for one in candidates}) == 3
        assert len({(one.loss.name, one.loss.standardize) for one in candidates}) == 1


def test_the_best_candidate_is_that_of_the_best_net_on_val(carried_out: CarriedOut) -> None:
    first, second, third = losses.CANDIDATES["kd"]
    net = carried_out("losses").notes.trained[0]
    good, better, best = (Scores(accuracy, nll, 0.0) for accuracy, nll in ((0.8, 0.1), (0.9, 0.5), (0.9, 0.4)))
    tried = {first: replace(net, val=good, test=best), second: replace(net, val=best, test=good)}
    assert losses.best_on_val({**tried, third: replace(net, val=better, test=best)}) is second


def test_the_candidate_that_is_reported_need_not_be_the_first(
    carried_out: CarriedOut, tiny_setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = {net.name.rpartition(" seed ")[0]: net for net in carried_out("losses").notes.trained}
    candidates = losses.CANDIDATES[losses.KD]
    best = losses.best_on_val({one: tuned[losses.tuning(losses.KD, one)] for one in candidates})
    worse = [one for one in candidates if one is not best]
    monkeypatch.setattr(losses, "CANDIDATES", {losses.KD: (*worse, best)})
    notes = Notes()
    with tracked_by(notes):
        losses.run(tiny_setup, 0)
    job = notes.job(f"{losses.KD} seed 0")
    assert (job.alpha, job.temperature) == (best.alpha, best.temperature)


@pytest.mark.parametrize("name", [*losses.CANDIDATES])
def test_a_loss_is_reported_with_the_settings_of_its_best_on_val(name: str, carried_out: CarriedOut) -> None:
    done = carried_out("losses")
    tried = {losses.tuning(name, one): one for one in losses.CANDIDATES[name]}
    trained = [net for net in done.notes.trained if net.name.rpartition(" seed ")[0] in tried]
    best = tried[max(trained, key=lambda net: (net.val.accuracy, -net.val.nll)).name.rpartition(" seed ")[0]]
    job = done.notes.job(f"{name} seed 0")
    assert (job.loss, job.alpha) == (best.loss, best.alpha)
    assert job.temperature == (best.temperature or 20)
    assert {setting: done.figure(losses.chosen(name, setting)) for setting in best.told()} == best.told()
    assert done.errors(name) == round(40 * (1 - done.notes.of(job.name).test.accuracy))


def test_losses_are_tuned_with_a_seed_that_nothing_is_reported_of(carried_out: CarriedOut) -> None:
    jobs = carried_out("losses").notes.jobs
    tuned = {job.recipe.seed for job in jobs if job.name.startswith("tuning")}
    assert len(tuned) == 1
    assert not tuned & {*range(100)}
    assert {job.recipe.seed for job in jobs if not job.name.startswith("tuning")} == {0}
