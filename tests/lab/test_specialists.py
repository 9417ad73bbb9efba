"""Specialists beside a generalist, and what else could be had for as much."""

import math
from collections.abc import Callable

import pytest
import torch
from laboratory import TINY, Done

from kd.distillation.combination import cover_table
from kd.lab import specialists
from kd.lab.names import ExperimentName
from kd.specialists.kind import TaskKind

CarriedOut = Callable[[ExperimentName], Done]


def test_specialists_start_from_the_generalist_and_learn_its_groups(carried_out: CarriedOut) -> None:
    notes = carried_out("specialists").notes
    generalist = notes.of(f"{specialists.GENERALIST} seed 0").model
    for kind in (TaskKind.DUSTBIN, TaskKind.FULL):
        jobs = [job for job in notes.jobs if job.task.kind == kind]
        assert len(jobs) == 3  # the root of ten classes
        assert sorted(label for job in jobs for label in job.task.group) == [*range(10)]
        assert all(job.start is generalist and job.task.own_fraction == 0.5 for job in jobs)
        assert {str(job.net.settings) for job in jobs} == {str(notes.job(f"{specialists.GENERALIST} seed 0").net.settings)}


def test_controls_start_from_the_generalist_and_have_as_many_steps(carried_out: CarriedOut) -> None:
    done = carried_out("specialists")
    notes = done.notes
    of_group = [job for job in notes.jobs if job.task.kind == TaskKind.DUSTBIN]
    images = sum(len(rows(0)) for job in of_group if (rows := job.task.epoch_rows(0)))
    assert images == pytest.approx(2 * 120, abs=len(of_group))  # each image once, and as many others
    generalist = notes.of(f"{specialists.GENERALIST} seed 0").model
    for name in (specialists.TRAINED_ON, specialists.GUIDED_ON, specialists.BACK):
        job = notes.job(f"{name} seed 0")
        assert job.start is generalist
        assert job.task.epoch_images == images
        assert job.recipe == of_group[0].recipe
        epochs = max(1, round(TINY.epochs / 3))
        assert done.figure(f"{name}: steps") == epochs * math.ceil(images / TINY.batch_size)
        assert done.figure(f"{name}: steps") == pytest.approx(done.figure(f"{specialists.DUSTBIN}: steps"), abs=3 * epochs)


def test_the_generalist_is_distilled_from_itself_with_specialists(carried_out: CarriedOut) -> None:
    notes = carried_out("specialists").notes
    back, guided = (notes.job(f"{name} seed 0") for name in (specialists.BACK, specialists.GUIDED_ON))
    assert back.teacher is not None
    assert guided.teacher is not None
    combined = notes.combined[0]
    assert {member.kind for member in combined.members} == {TaskKind.DUSTBIN}
    assert torch.allclose(back.teacher.test_logits.exp(), combined.test_probabilities, atol=1e-5)
    assert guided.teacher.model is notes.of(f"{specialists.GENERALIST} seed 0").model
    assert (back.temperature, back.alpha) == (guided.temperature, guided.alpha) == (2, TINY.alpha)
    assert {job.temperature for job in notes.jobs if job.task.kind == TaskKind.DUSTBIN} == {2}


def test_the_ensemble_has_as_many_parameters(carried_out: CarriedOut) -> None:
    done = carried_out("specialists")
    parameters = {row.system: row.parameters for row in done.record.rows}
    single, ensemble, with_full = (
        parameters[name] or 0 for name in (specialists.GENERALIST, specialists.ENSEMBLE, specialists.FULL)
    )
    assert ensemble == 4 * single == with_full
    members = [net for net in done.notes.trained if net.name.startswith(specialists.GENERALIST) and net.role == "teacher"]
    mean = torch.stack([net.test_logits.double().softmax(dim=1) for net in members]).mean(dim=0)
    assert len(members) == 4
    assert done.errors(specialists.ENSEMBLE) == int((mean.argmax(dim=1) != members[0].dataset.test.labels).sum())


def test_gains_by_cover_are_those_of_the_combination(carried_out: CarriedOut) -> None:
    done = carried_out("specialists")
    combined = done.notes.combined[0]
    [row] = cover_table(combined.before, combined.after, torch.ones(40, dtype=torch.int64))
    assert done.figure(specialists.gain_where(1)) == pytest.approx(100 * row.gain.mean)
    assert done.errors(specialists.DUSTBIN) == int((~combined.after).sum())
    assert done.figure(specialists.COVERED_WITH) == pytest.approx(100 * combined.after.double().mean().item())
