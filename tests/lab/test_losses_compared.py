"""Losses that are tuned on val and compared with one another."""

from collections.abc import Callable

import pytest
from laboratory import Done

from kd.lab import losses
from kd.lab.names import ExperimentName

CarriedOut = Callable[[ExperimentName], Done]


def test_each_loss_is_tuned_in_as_many_trainings_of_other_settings() -> None:
    assert {len(candidates) for candidates in losses.CANDIDATES.values()} == {3}
    for name, candidates in losses.CANDIDATES.items():
        assert len({losses.tuning(name, one) for one in candidates}) == 3
        assert len({(one.loss.name, one.loss.standardize) for one in candidates}) == 1


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
