"""Tasks: which labels, classes and targets each kind of net learns, against slow versions of one image at a time."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kd.data.batches import Batch
from kd.data.dataset import Dataset, Split
from kd.distillation.objectives import hard_objective, soft_objective
from kd.distillation.task import Task, specialist_task, whole_task
from kd.evaluation.scores import Scores
from kd.specialists.clustering import Group
from kd.specialists.kind import TaskKind

CLASSES = ("ant", "bee", "cat", "dog", "eel")
GROUP: Group = (1, 3)
SPLITS = ("train", "val", "test")


def split(images: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % len(CLASSES)
    pixels = torch.randint(0, 256, (images, 1, 2, 2), dtype=torch.uint8, generator=generator)
    return Split(pixels, labels[torch.randperm(images, generator=generator)], torch.arange(images))


DATASET = Dataset("toy", CLASSES, split(40, 0), split(15, 1), split(20, 2), (0.5,), (0.3,), flip=False, digest="d" * 32)


def task_of(kind: TaskKind, group: Group = GROUP, own_fraction: float = 0.5) -> Task:
    return whole_task(DATASET) if kind == TaskKind.ALL else specialist_task(DATASET, group, kind, own_fraction)


def batch(labels: list[int]) -> Batch:
    return Batch(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), torch.tensor(labels), torch.arange(len(labels)), 0)


class Targets:
    """A teacher with given logits for the images of a batch, by their index."""

    views = 1

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def __call__(self, batch: Batch) -> Tensor:
        return self.logits[batch.index]


@pytest.mark.parametrize(
    ("kind", "classes", "relabelled"),
    [
        (TaskKind.ALL, CLASSES, {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}),
        (TaskKind.FULL, CLASSES, {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}),
        (TaskKind.DUSTBIN, ("bee", "dog", "dustbin"), {0: 2, 1: 0, 2: 2, 3: 1, 4: 2}),
        (TaskKind.OWN, ("bee", "dog"), {1: 0, 3: 1}),
    ],
)
def test_classes_and_labels(kind: TaskKind, classes: tuple[str, ...], relabelled: dict[int, int]) -> None:
    task = task_of(kind)
    assert (task.kind, task.num_classes, task.classes) == (kind, 5, classes)
    assert task.group == (tuple(range(5)) if kind == TaskKind.ALL else GROUP)
    for name in SPLITS:
        before, after = getattr(DATASET, name), getattr(task, name)
        kept = [row for row, label in enumerate(before.labels.tolist()) if label in relabelled]
        assert after.index.tolist() == kept  # the rows of the teacher's logits
        assert torch.equal(after.images, before.images[kept])
        assert after.labels.tolist() == [relabelled[label] for label in before.labels[kept].tolist()]
        assert {task.classes[label] for label in after.labels.tolist()} == set(classes)


@pytest.mark.parametrize("kind", [TaskKind.ALL, TaskKind.OWN])
def test_a_student_and_a_specialist_without_dustbin_see_their_images_as_they_are(kind: TaskKind) -> None:
    assert task_of(kind).epoch_rows(seed=0) is None


@pytest.mark.parametrize("kind", [TaskKind.DUSTBIN, TaskKind.FULL])
@pytest.mark.parametrize(("own_fraction", "images"), [(0.5, 32), (0.8, 20), (1.0, 16)])
def test_epochs_of_a_specialist_are_enriched_in_its_classes(kind: TaskKind, own_fraction: float, images: int) -> None:
    task = task_of(kind, own_fraction=own_fraction)
    pick = task.epoch_rows(seed=0)
    assert pick is not None
    epochs = [pick(0), pick(1), pick(0)]
    own = torch.isin(DATASET.train.labels, torch.tensor(GROUP))
    for rows in epochs:
        assert len(rows) == images
        assert sorted(rows[own[rows]].tolist()) == own.nonzero()[:, 0].tolist()  # each of its 16 images once
    assert torch.equal(epochs[0], epochs[2])
    assert (own_fraction == 1) is torch.equal(epochs[0].sort().values, epochs[1].sort().values)


LOGITS = st.lists(st.lists(st.floats(-6, 6), min_size=5, max_size=5), min_size=1, max_size=4)
GROUPS = st.sets(st.integers(0, 4), min_size=2, max_size=4).map(lambda group: tuple(sorted(group)))


def softmax(logits: list[float], temperature: float) -> list[float]:
    powers = [math.exp(logit / temperature) for logit in logits]
    return [power / sum(powers) for power in powers]


def to_dustbin(probabilities: list[float], group: Group) -> list[float]:
    outside = sum(p for number, p in enumerate(probabilities) if number not in group)
    return [*(probabilities[number] for number in group), outside]


@given(LOGITS, GROUPS, st.floats(0.5, 20))
def test_of_teacher_gives_the_dustbin_the_probability_of_all_outside(
    logits: list[list[float]], group: Group, temperature: float
) -> None:
    teacher = torch.tensor(logits, dtype=torch.float64)
    dustbin = (task_of(TaskKind.DUSTBIN, group).of_teacher(teacher, temperature) / temperature).softmax(dim=1)
    own = (task_of(TaskKind.OWN, group).of_teacher(teacher, temperature) / temperature).softmax(dim=1)
    for row, with_bin, without in zip(logits, dustbin.tolist(), own.tolist(), strict=True):
        expected = to_dustbin(softmax(row, temperature), group)
        assert with_bin == pytest.approx(expected, rel=1e-9)
        assert without == pytest.approx([p / sum(expected[:-1]) for p in expected[:-1]], rel=1e-9)
    assert torch.equal(task_of(TaskKind.FULL, group).of_teacher(teacher, temperature), teacher)
    assert torch.equal(task_of(TaskKind.ALL).of_teacher(teacher, temperature), teacher)


def test_own_correct_is_over_the_images_of_the_group_among_its_classes() -> None:
    # A net on all classes: the dog taken for an ant is right among bee and dog, the eel is not asked.
    logits = torch.tensor([[9.0, 1, 0, 2, 0], [9, 2, 0, 1, 0], [0, 5, 0, 1, 0], [0, 9, 9, 9, 0]])
    labels = torch.tensor([3, 3, 1, 4])
    assert task_of(TaskKind.FULL).own_correct(logits, labels).tolist() == [True, False, True]
    # A dustbin: the net says dustbin to each, and is asked to choose among the group.
    logits, labels = torch.tensor([[1.0, 2, 9], [2, 1, 9], [3, 1, 0], [3, 1, 0]]), torch.tensor([1, 1, 0, 2])
    assert task_of(TaskKind.DUSTBIN).own_correct(logits, labels).tolist() == [True, False, True]
    assert task_of(TaskKind.OWN).own_correct(logits[:3, :2], labels[:3]).tolist() == [True, False, True]
    assert task_of(TaskKind.ALL).own_correct(torch.eye(5), torch.tensor([0, 1, 2, 3, 0])).tolist() == [True] * 4 + [False]


def test_scores_tell_of_the_own_classes_for_a_specialist_alone() -> None:
    logits, labels = torch.tensor([[1.0, 2, 9], [2, 1, 9], [3, 1, 0], [3, 1, 0]]), torch.tensor([1, 1, 0, 2])
    scores = task_of(TaskKind.DUSTBIN).scores(logits, labels)
    assert scores.accuracy == 0.25
    assert scores.own_accuracy == pytest.approx(2 / 3)
    assert scores.own_balanced_accuracy == pytest.approx((1 + 1 / 2) / 2)  # class 0: 1 of 1; class 1: 1 of 2
    assert scores.balanced_accuracy == pytest.approx((1 + 0 + 0) / 3)  # the dustbin is a class too
    assert task_of(TaskKind.ALL).scores(torch.eye(5), torch.arange(5)).own_accuracy is None


def test_epochs_are_ranked_by_own_accuracy_then_by_likelihood() -> None:
    def best(epochs: list[tuple[float, float | None, float]]) -> int:
        ranks = [Scores(accuracy, nll, 0.0, own).rank for accuracy, own, nll in epochs]
        return ranks.index(max(ranks))

    assert best([(0.9, 0.5, 0.1), (0.1, 0.6, 9.0)]) == 1
    assert best([(0.9, 0.5, 0.3), (0.1, 0.5, 0.2), (0.5, 0.5, 0.4)]) == 1
    assert best([(0.8, None, 0.1), (0.9, None, 0.7), (0.9, None, 0.6), (0.9, None, 0.8)]) == 2


@st.composite
def distilled(draw: st.DrawFn) -> tuple[Group, list[list[float]], list[list[float]], list[int]]:
    """Draw a group, logits of a net and of a teacher on all classes, and labels."""
    images = draw(st.integers(1, 5))
    rows = st.lists(st.lists(st.floats(-6, 6), min_size=5, max_size=5), min_size=images, max_size=images)
    labels = st.lists(st.integers(0, 4), min_size=images, max_size=images)
    return draw(GROUPS), draw(rows), draw(rows), draw(labels)


def slow_terms(student: list[float], target: list[float], label: int, temperature: float) -> tuple[float, float]:
    """Return the soft and the hard term of one image, of its logits and its soft target."""
    pairs = zip(target, softmax(student, temperature), strict=True)
    return temperature**2 * sum(p * math.log(p / q) for p, q in pairs), -math.log(softmax(student, 1)[label])


@given(distilled(), st.floats(1, 10), st.floats(0, 1))
def test_a_full_specialist_learns_the_other_classes_from_soft_targets_alone(
    images: tuple[Group, list[list[float]], list[list[float]], list[int]], temperature: float, alpha: float
) -> None:
    group, student, teacher, labels = images
    objective = soft_objective(
        task_of(TaskKind.FULL, group), Targets(torch.tensor(teacher, dtype=torch.float64)), temperature=temperature, alpha=alpha
    )
    terms = objective(torch.tensor(student, dtype=torch.float64), batch(labels))
    softs, hards, totals = [], [], []
    for v, z, label in zip(student, teacher, labels, strict=True):
        soft, hard = slow_terms(v, softmax(z, temperature), label, temperature)
        softs.append(soft)
        hards += [hard] if label in group else []
        totals.append(alpha * soft + (1 - alpha) * hard if label in group else soft)
    assert terms.total.item() == pytest.approx(sum(totals) / len(totals), abs=1e-8)
    assert terms.soft.item() == pytest.approx(sum(softs) / len(softs), abs=1e-8)
    assert terms.hard.item() == pytest.approx(sum(hards) / len(hards) if hards else 0, abs=1e-8)


@given(distilled(), st.floats(1, 10), st.floats(0, 1))
def test_a_specialist_with_a_dustbin_learns_the_sum_of_the_others(
    images: tuple[Group, list[list[float]], list[list[float]], list[int]], temperature: float, alpha: float
) -> None:
    group, student, teacher, labels = images
    student = [row[: len(group) + 1] for row in student]
    relabelled = [group.index(label) if label in group else len(group) for label in labels]
    objective = soft_objective(
        task_of(TaskKind.DUSTBIN, group),
        Targets(torch.tensor(teacher, dtype=torch.float64)),
        temperature=temperature,
        alpha=alpha,
    )
    terms = objective(torch.tensor(student, dtype=torch.float64), batch(relabelled))
    pairs = [
        slow_terms(v, to_dustbin(softmax(z, temperature), group), label, temperature)
        for v, z, label in zip(student, teacher, relabelled, strict=True)
    ]
    soft, hard = (sum(term) / len(pairs) for term in zip(*pairs, strict=True))
    assert terms.soft.item() == pytest.approx(soft, abs=1e-8)
    assert terms.hard.item() == pytest.approx(hard, abs=1e-8)
    assert terms.total.item() == pytest.approx(alpha * soft + (1 - alpha) * hard, abs=1e-8)


def test_the_teacher_is_looked_up_for_the_images_of_the_batch() -> None:
    logits = torch.tensor([[5.0, 0, 0, 0, 0], [0, 5, 0, 0, 0], [0, 0, 5, 0, 0]])
    objective = soft_objective(task_of(TaskKind.ALL), Targets(logits), temperature=2.0, alpha=1.0)
    shuffled = Batch(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([2, 0]), torch.tensor([2, 0]), 0)
    assert objective(logits[[2, 0]], shuffled).total.item() == pytest.approx(0, abs=1e-6)
    assert objective(logits[[0, 2]], shuffled).total.item() > 1


def test_the_hard_objective_knows_labels_alone() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]))
    ln2 = math.log(2)
    assert hard_objective()(logits, batch([0, 1])).total.item() == pytest.approx((ln2 + 2 * ln2) / 2)
    smooth = hard_objective(0.3)(logits, batch([0, 1])).total.item()
    assert smooth == pytest.approx((0.8 * ln2 + 0.2 * 2 * ln2 + 0.9 * 2 * ln2 + 0.1 * ln2) / 2)


def test_a_class_that_is_named_dustbin_is_told_from_the_dustbin() -> None:
    named = replace(DATASET, classes=("ant", "dustbin", "cat", "dog", "eel"))
    assert specialist_task(named, GROUP, TaskKind.DUSTBIN, 0.5).classes == ("dustbin", "dog", "dustbin (all others)")
    assert specialist_task(named, (0, 2), TaskKind.DUSTBIN, 0.5).classes == ("ant", "cat", "dustbin")
