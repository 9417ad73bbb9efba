"""An ensemble distilled into one net."""

import math
from collections.abc import Callable

import pytest
import torch
from laboratory import Done, Notes

from kd.distillation.tracker import tracked_by
from kd.lab import ensemble
from kd.lab.experiment import carry_out_experiment
from kd.lab.names import ExperimentName
from kd.lab.seeds import derived_seed
from kd.lab.setup import Setup

CarriedOut = Callable[[ExperimentName], Done]


def test_seeds_of_members_are_shared_by_no_two_replicates() -> None:
    seeds = [derived_seed(seed, number) for seed in range(50) for number in range(1, ensemble.MEMBERS)]
    assert len({*seeds, *range(50)}) == len(seeds) + 50
    assert derived_seed(3, 1) == derived_seed(3, 1)


def test_members_differ_in_their_seeds_alone_and_the_distilled_net_has_that_of_the_single_one(carried_out: CarriedOut) -> None:
    *members, distilled = carried_out("ensemble").notes.jobs
    assert len({job.recipe.seed for job in members}) == ensemble.MEMBERS == len(members)
    assert not {job.recipe.seed for job in members[1:]} & {*range(100)}  # seeds of other replicates
    assert {job.net.name for job in members} == {distilled.net.name}
    assert len({str(job.net.settings) for job in [*members, distilled]}) == 1
    assert distilled.recipe == members[0].recipe
    assert distilled.temperature == 20
    assert members[0].name == f"{ensemble.ONE} seed 0"


def test_the_ensemble_answers_with_the_mean_of_its_members(carried_out: CarriedOut) -> None:
    done = carried_out("ensemble")
    *members, _ = done.notes.trained
    mean = torch.stack([member.test_logits.double().softmax(dim=1) for member in members]).mean(dim=0)
    assert done.errors(ensemble.ALL) == int((mean.argmax(dim=1) != members[0].dataset.test.labels).sum())
    assert done.errors(ensemble.ONE) == int((members[0].test_logits.argmax(dim=1) != members[0].dataset.test.labels).sum())


def test_the_share_kept_is_of_summed_gains_over_the_members_mean(tiny_setup: Setup) -> None:
    notes = Notes()
    with tracked_by(notes):
        record = carry_out_experiment("ensemble", tiny_setup, [0, 1])
    errors = {row.system: sum(row.errors) for row in record.rows}
    members = [net for net in notes.trained if not net.name.startswith(ensemble.DISTILLED)]
    usual = sum(40 * (1 - net.test.accuracy) for net in members) / ensemble.MEMBERS  # errors of the two seeds
    gained, kept = usual - errors[ensemble.ALL], usual - errors[ensemble.DISTILLED]
    mean, share = record.figures
    assert mean.value.mean == pytest.approx(100 * (1 - usual / 80))
    assert (share.name, share.value.n) == (ensemble.SHARE, 2)
    if gained > 0:
        assert share.value.mean == pytest.approx(100 * kept / gained)
    else:
        assert math.isnan(share.value.mean)
