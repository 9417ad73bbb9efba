"""Controls that take away what a teacher's targets say, piece by piece."""

from collections.abc import Callable

import pytest
import torch
from laboratory import Done
from torch import Tensor

from kd.data.batches import Batch
from kd.distillation.job import Job
from kd.evaluation.predict import predict
from kd.lab import controls
from kd.lab.names import ExperimentName
from kd.losses.soft_targets import distillation_loss

CarriedOut = Callable[[ExperimentName], Done]
LABELS = torch.tensor([0, 2, 1, 0, 2, 2, 0, 1, 1, 0])


def loss_with(job: Job, teacher: Tensor) -> tuple[float, float]:
    """Return the loss of a job for all its images and random answers, and that of some targets worked out apart."""
    split = job.task.train
    answers = torch.randn(len(split), 10, generator=torch.Generator().manual_seed(1))
    batch = Batch(split.images, split.labels, split.index, 0)
    expected = distillation_loss(answers, teacher, split.labels, temperature=20, alpha=0.9)
    return job.objective(answers, batch).total.item(), expected.total.item()


def test_shuffling_within_classes_keeps_the_class_of_each_place_and_moves_images() -> None:
    order = controls.shuffled_within(LABELS, 0)
    assert LABELS[order].tolist() == LABELS.tolist()
    assert sorted(order.tolist()) == [*range(10)]
    assert order.tolist() != [*range(10)]
    assert controls.shuffled_within(LABELS, 0).tolist() == order.tolist()
    assert any(controls.shuffled_within(LABELS, seed).tolist() != order.tolist() for seed in (1, 2, 3))


def test_smoothed_targets_have_the_labels_mean_probability_and_an_even_rest() -> None:
    logits = 4 * torch.randn(2, 10, 3, generator=torch.Generator().manual_seed(0))
    probabilities = (logits / 5).softmax(dim=2)
    mean = torch.stack([probabilities[view, row, label] for view in (0, 1) for row, label in enumerate(LABELS)]).mean().item()
    smoothed = (controls.smoothed(logits, LABELS, 5.0) / 5).softmax(dim=2)
    for view in (0, 1):
        for row, label in enumerate(LABELS.tolist()):
            for number in range(3):
                expected = mean if number == label else (1 - mean) / 2
                assert smoothed[view, row, number].item() == pytest.approx(expected, rel=1e-4)


def test_each_student_learns_from_the_targets_that_its_name_says(carried_out: CarriedOut) -> None:
    notes = carried_out("controls").notes
    split = notes.job(f"{controls.SOFT} seed 0").task.train
    true = predict(notes.of("teacher seed 0").model, split)
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
    changed = {
        controls.SOFT: true,
        controls.WITHIN: true[controls.shuffled_within(split.labels, 0)],
        controls.AMONG: true[order],
        controls.SMOOTHED: controls.smoothed(true[None], split.labels, 20.0)[0],
    }
    for name, teacher in changed.items():
        told, expected = loss_with(notes.job(f"{name} seed 0"), teacher)
        assert told == pytest.approx(expected, rel=1e-4)
    assert len({job.altered for job in notes.jobs}) == 4  # three, and none
