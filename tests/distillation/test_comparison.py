"""Comparisons by hand: paired over images for one seed, over seeds for several; a specialist on its own classes."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import kd
from kd.data.dataset import Dataset
from kd.distillation.results import Trained
from kd.distillation.task import Task, specialist_task, whole_task
from kd.errors import UserError
from kd.evaluation.comparisons import Comparison
from kd.evaluation.intervals import BOOTSTRAP_SEED, paired_bootstrap, wilson_interval
from kd.evaluation.scores import Scores
from kd.specialists.kind import TaskKind

LABELS = [0, 0, 1, 1, 2, 2, 3, 3]
UNKNOWN = Scores(accuracy=math.nan, nll=math.nan, calibration_error=math.nan)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Return a data set of four classes with two images of each, whose pixels are their numbers."""
    numbers = torch.arange(8)
    images = numbers[:, None, None, None].expand(8, 1, 2, 2).to(torch.uint8).contiguous()
    split = kd.Split(images, torch.tensor(LABELS), numbers)
    return Dataset("toy", tuple("abcd"), split, split, split, (0.0,), (1.0,), flip=False, digest="d")


def answers(classes: Sequence[int], outputs: int, second: Sequence[int] | None = None) -> Tensor:
    """Return logits (N, outputs) whose largest are of these classes, and whose second largest of those."""
    logits = torch.zeros(len(classes), outputs)
    if second is not None:
        logits[torch.arange(len(classes)), torch.tensor(second)] = 1
    logits[torch.arange(len(classes)), torch.tensor(classes)] = 2
    return logits


def trained(dataset: Dataset, logits: Tensor, task: Task | None = None) -> Trained:
    return Trained(
        name="net",
        label="net",
        role="student",
        model=nn.Identity(),
        dataset=dataset,
        task=task or whole_task(dataset),
        recipe=kd.Recipe(),
        history=(),
        chosen_epoch=1,
        val=UNKNOWN,
        test=UNKNOWN,
        val_logits=logits,
        test_logits=logits,
        parameters=0,
        multiply_adds=0,
        seconds=0.0,
    )


class Table(nn.Module):
    """A net whose logits are known, image by image."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits[images[:, 0, 0, 0].long()]


def right(compared: Comparison) -> tuple[float, float, float]:
    return compared.before.mean, compared.after.mean, compared.difference.mean


def test_two_nets_are_compared_image_by_image(dataset: Dataset) -> None:
    before = trained(dataset, answers([0, 1, 1, 0, 2, 3, 3, 3], 4))  # right: 1 0 1 0 1 0 1 1
    after = trained(dataset, answers([0, 0, 1, 1, 2, 2, 0, 3], 4))  # right: 1 1 1 1 1 1 0 1
    compared = kd.compare(after, before)
    assert right(compared) == (5 / 8, 7 / 8, 2 / 8)
    assert compared.before == wilson_interval(5, 8)
    assert compared.after == wilson_interval(7, 8)
    sides = (np.array([1, 0, 1, 0, 1, 0, 1, 1], bool), np.array([1, 1, 1, 1, 1, 1, 0, 1], bool))
    assert compared.difference == paired_bootstrap(*sides, seed=BOOTSTRAP_SEED)
    assert compared.p_value == pytest.approx(2 * (1 + 4) / 2**4)  # of 4 images that changed sides 1 or fewer were broken
    assert (compared.over, compared.verdict, compared.difference.n) == ("images", "null result", 8)
    back = kd.compare(before, after)
    assert right(back) == (7 / 8, 5 / 8, -2 / 8)


def test_a_comparison_says_itself_what_it_amounts_to(dataset: Dataset) -> None:
    wrong, good = trained(dataset, answers([1, 1, 2, 2, 3, 3, 0, 0], 4)), trained(dataset, answers(LABELS, 4))
    assert str(kd.compare(good, wrong)) == "+100.0 % points [100.0, 100.0], n = 8 images: gain"
    assert str(kd.compare(wrong, good)) == "-100.0 % points [-100.0, -100.0], n = 8 images: loss"
    assert str(kd.compare(good, good)) == "+0.0 % points [0.0, 0.0], n = 8 images: null result"
    assert kd.compare(good, wrong).p_value == pytest.approx(2 / 2**8)


def test_a_teacher_is_asked_for_its_logits_on_test(dataset: Dataset) -> None:
    student = trained(dataset, answers(LABELS, 4))
    own = trained(dataset, answers([0, 0, 1, 1, 0, 0, 0, 0], 4))
    teacher = kd.Teacher(own.model, dataset, trained=own)
    assert right(kd.compare(student, teacher)) == (4 / 8, 1, 4 / 8)


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [  # columns 0 and 1 are classes 1 and 3, column 2 is the dustbin; where all classes are told apart columns are classes
        (TaskKind.DUSTBIN, [2, 2, 0, 2, 2, 2, 1, 2], [0, 0, 1, 0, 0, 0, 0, 1]),
        (TaskKind.OWN, [0, 0, 1, 1], [1, 1, 0, 0]),
        (TaskKind.FULL, [0, 0, 1, 0, 2, 2, 3, 0], [1, 1, 3, 1, 1, 1, 1, 3]),
    ],
)
def test_a_specialist_is_compared_with_its_teacher_on_its_own_classes_among_its_own_classes(
    kind: TaskKind, first: list[int], second: list[int], dataset: Dataset
) -> None:
    task = specialist_task(dataset, (1, 3), kind, 0.5)
    # Where its first choice is another class, its second one counts: on images 2, 3, 6, 7 all are right.
    specialist = trained(dataset, answers(first, len(task.classes), second), task)
    # On the same images the teacher says 1, 3, 3, 1.
    teacher = trained(dataset, answers([0, 0, 0, 0, 0, 0, 0, 1], 4, [1, 1, 1, 3, 1, 1, 3, 2]))
    compared = kd.compare(specialist, teacher)
    assert right(compared) == (2 / 4, 4 / 4, 2 / 4)
    assert compared.difference.n == 4
    assert right(kd.compare(teacher, specialist)) == (4 / 4, 2 / 4, -2 / 4)
    assert right(kd.compare(specialist, specialist)) == (1, 1, 0)


def test_a_combination_is_compared_by_its_answers(dataset: Dataset) -> None:
    teacher = kd.Teacher(Table(answers([0, 1, 2, 1, 2, 3, 1, 3], 4, [1, 0, 1, 3, 0, 2, 3, 1])), dataset)
    # Sure of itself, so that it decides wherever the teacher calls it by saying 1 or 3: dustbin for image 1, 3 for 2 and 6.
    told = 10 * answers([2, 2, 1, 0, 2, 1, 1, 0], 3)
    task = specialist_task(dataset, (1, 3), TaskKind.DUSTBIN, 0.5)
    specialist = dataclasses.replace(trained(dataset, told, task), model=Table(told))
    combination = kd.combine(teacher, [specialist], correction="none", device="cpu")
    # The teacher has 0, 3, 4, 7 right; image 1 is mended by the dustbin, 6 by the specialist, which breaks 7.
    assert right(kd.compare(combination, teacher)) == (4 / 8, 5 / 8, 1 / 8)
    # Among 1 and 3 the specialist has images 3 and 6 right; nobody asked it about image 2, whose second choice is 1.
    assert right(kd.compare(combination, specialist)) == (2 / 4, 3 / 4, 1 / 4)


def test_several_seeds_are_compared_by_their_differences(dataset: Dataset) -> None:
    befores = [trained(dataset, answers(said, 4)) for said in ([0] * 8, [0, 0, 1, 1, 0, 0, 0, 0], [0] * 8)]  # 1/4 1/2 1/4
    afters = [trained(dataset, answers(said, 4)) for said in ([0, 0, 1, 1, 0, 0, 0, 0], LABELS, LABELS)]  # 1/2 1 1
    compared = kd.compare(afters, befores)
    assert right(compared) == pytest.approx((1 / 3, 5 / 6, 1 / 2))
    # Differences 1/4, 1/2, 3/4: standard deviation 1/4; Student's t of 2 degrees of freedom at 97.5 % is 4.303.
    half = 4.302652729911275 * 0.25 / math.sqrt(3)
    assert compared.difference.low == pytest.approx(0.5 - half)
    assert compared.difference.high == pytest.approx(0.5 + half)
    assert (compared.difference.n, compared.over) == (3, "seeds")
    # t = 0.5 / (0.25 / sqrt(3)) = sqrt(12); with 2 degrees of freedom the p-value is 1 - t / sqrt(2 + t^2).
    assert compared.p_value == pytest.approx(1 - math.sqrt(12 / 14))
    assert str(compared) == "+50.0 % points [-12.1, 112.1], n = 3 seeds: null result"


def test_one_seed_in_a_list_is_one_seed(dataset: Dataset) -> None:
    one, two = trained(dataset, answers([0] * 8, 4)), trained(dataset, answers(LABELS, 4))
    assert kd.compare([two], [one]) == kd.compare(two, one)


def test_what_can_not_be_compared_is_refused(dataset: Dataset) -> None:
    net = trained(dataset, answers(LABELS, 4))
    elsewhere = trained(dataclasses.replace(dataset, name="others", digest="e"), answers(LABELS, 4))
    specialists = [
        trained(dataset, torch.zeros(8, 3), specialist_task(dataset, group, TaskKind.DUSTBIN, 0.5))
        for group in ((1, 3), (1, 2))
    ]
    for system, other, told in (
        (net, elsewhere, "toy and others: not the same images; compare on one data set"),
        ([net, net], [net, elsewhere], "toy and others: not the same images; compare on one data set"),
        ([net, net], [net], "2 and 1 systems can't be paired; give as many of both, one or more"),
        ([], [], "0 and 0 systems can't be paired; give as many of both, one or more"),
        (specialists[0], specialists[1], "the specialists are of two groups of classes; compare those of one group"),
        (net, net.control, "there is no control to compare with; distil with control=True"),
    ):
        with pytest.raises(UserError) as caught:
            kd.compare(system, other)
        assert str(caught.value) == told
