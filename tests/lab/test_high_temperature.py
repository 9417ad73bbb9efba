"""The gradient of soft targets against that of logit matching."""

from collections.abc import Callable

import pytest
import torch
from laboratory import Done

from kd.lab.high_temperature import MATCHED, TEMPERATURES, at, distance_at, gradient_distance
from kd.lab.names import ExperimentName

CarriedOut = Callable[[ExperimentName], Done]


def test_the_distance_is_that_of_a_gradient_worked_out_by_hand() -> None:
    v, z = torch.tensor([[2.0, 0.0, -2.0], [1.0, 1.0, 1.0]]), torch.tensor([[1.0, 1.0, -2.0], [3.0, 0.0, 0.0]])
    for temperature in (1.0, 4.0):
        # T (softmax(v / T) - softmax(z / T)) is the gradient of T^2 KL
        gradient = temperature * ((v / temperature).softmax(1) - (z / temperature).softmax(1))
        limit = ((v - v.mean(1, keepdim=True)) - (z - z.mean(1, keepdim=True))) / 3
        expected = ((gradient - limit).norm() / limit.norm()).item()
        assert gradient_distance(v, z, temperature) == pytest.approx(expected, rel=1e-5)


def test_the_distance_vanishes_as_one_over_the_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    v, z = torch.randn(20, 10, generator=generator), 3 * torch.randn(20, 10, generator=generator)
    near, far = gradient_distance(v, z, 1e3), gradient_distance(v, z, 1e4)
    assert far == pytest.approx(near / 10, rel=0.05)
    assert gradient_distance(v + 5, z - 7, 1e4) == pytest.approx(far, rel=1e-3)  # means count for nothing


def test_gradients_are_of_logits_on_val(carried_out: CarriedOut) -> None:
    done = carried_out("high-temperature")
    teacher, hard = done.notes.of("teacher seed 0"), done.notes.of("student, hard targets seed 0")
    told = [done.figure(distance_at(temperature)) for temperature in TEMPERATURES]
    assert told == sorted(told, reverse=True)
    assert told[1] == pytest.approx(gradient_distance(hard.val_logits, teacher.val_logits, 4.0))


def test_students_differ_in_their_loss_alone(carried_out: CarriedOut) -> None:
    notes = carried_out("high-temperature").notes
    students = [notes.job(f"{at(temperature)} seed 0") for temperature in TEMPERATURES]
    assert [job.temperature for job in students] == [1, 4, 20, 100]
    assert {job.loss.name for job in students if job.loss} == {"kd"}
    matched = notes.job(f"{MATCHED} seed 0")
    assert matched.loss is not None
    assert matched.loss.name == "mse"
    assert len({(job.recipe, job.alpha) for job in [*students, matched]}) == 1
