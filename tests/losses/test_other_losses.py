"""Losses since 2015 against values worked out by hand, and slow versions that take one image, class or pair at a time."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from by_hand import softmax, tensor
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kd.distillation.objectives import check_loss
from kd.errors import UserError
from kd.losses.choice import SoftLoss, loss_of
from kd.losses.correlation import correlation_loss
from kd.losses.decoupled import decoupled_loss
from kd.losses.logit_matching import logit_matching_loss
from kd.losses.soft_targets import soft_loss, weighed
from kd.losses.standardized import standardized
from kd.specialists.kind import TaskKind

LN2, LN3 = math.log(2), math.log(3)


def divergence(teacher: list[float], student: list[float]) -> float:
    return sum(p * math.log(p / q) for p, q in zip(teacher, student, strict=True) if p)


def slow_decoupled(  # noqa: PLR0913, PLR0917 - as the loss
    student: list[float], teacher: list[float], label: int, temperature: float, alpha: float, beta: float
) -> float:
    theirs, ours = softmax(teacher, temperature), softmax(student, temperature)
    target = divergence([theirs[label], 1 - theirs[label]], [ours[label], 1 - ours[label]])
    others = [
        [value / (1 - values[label]) for number, value in enumerate(values) if number != label] for values in (theirs, ours)
    ]
    return temperature**2 * (alpha * target + beta * divergence(*others))


def slow_correlation(one: list[float], other: list[float]) -> float:
    means = sum(one) / len(one), sum(other) / len(other)
    pairs = [(a - means[0], b - means[1]) for a, b in zip(one, other, strict=True)]
    norm = math.sqrt(sum(a * a for a, _ in pairs)) * math.sqrt(sum(b * b for _, b in pairs))
    return sum(a * b for a, b in pairs) / norm


@st.composite
def logit_batches(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]], list[int]]:
    """Draw logits of a student and of a teacher, and labels, for 2 to 4 images of 3 to 5 classes, no two logits alike."""
    images, classes = draw(st.integers(2, 4)), draw(st.integers(3, 5))
    value = st.integers(-400, 400)
    rows = st.lists(value, min_size=images * classes, max_size=images * classes, unique=True)
    student, teacher = (
        [[number / 100 for number in flat[start : start + classes]] for start in range(0, images * classes, classes)]
        for flat in (draw(rows), draw(rows))
    )
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=images, max_size=images))
    return student, teacher, labels


def test_logit_matching_by_hand() -> None:
    # ((3 - 1)^2 + (0 - 2)^2 + (1 - 1)^2) / 3 / 2 = 4/3; equal logits cost nothing.
    student, teacher = tensor([[3.0, 0.0, 1.0], [5.0, 5.0, 5.0]]), tensor([[1.0, 2.0, 1.0], [5.0, 5.0, 5.0]])
    assert logit_matching_loss(student, teacher).tolist() == pytest.approx([4 / 3, 0])


def test_logit_matching_is_the_limit_of_soft_targets_at_high_temperature_for_logits_of_mean_zero() -> None:
    student, teacher = tensor([[3.0, -1.0, -2.0], [0.0, 1.0, -1.0]]), tensor([[-2.0, 2.0, 0.0], [1.0, 1.0, -2.0]])
    matched = logit_matching_loss(student, teacher)
    errors = [(soft_loss(student, teacher, t) - matched).abs().max().item() for t in (10.0, 100.0, 1000.0)]
    assert errors[0] > 5 * errors[1] > 25 * errors[2]
    assert errors[2] < 1e-2


def test_decoupled_by_hand() -> None:
    # At T = 1 the teacher has 1/2, 1/4, 1/4 and the student 1/4, 1/4, 1/2, the label is class 0. TCKD: (1/2, 1/2) against
    # (1/4, 3/4) is 1/2 ln 2 + 1/2 ln 2/3 = ln 2 - 1/2 ln 3. NCKD: (1/2, 1/2) against (1/3, 2/3) is 1/2 ln 3/2 + 1/2 ln 3/4.
    student, teacher = tensor([[0, 0, LN2]]), tensor([[LN2, 0, 0]])
    target, others = LN2 - LN3 / 2, (math.log(1.5) + math.log(0.75)) / 2
    result = decoupled_loss(student, teacher, torch.tensor([0]), 1.0, alpha=1.0, beta=8.0)
    assert result.tolist() == pytest.approx([target + 8 * others])


@given(logit_batches(), st.floats(0.5, 10), st.floats(0, 3), st.floats(0, 10))
def test_decoupled_is_that_of_one_image_at_a_time(
    batch: tuple[list[list[float]], list[list[float]], list[int]], temperature: float, alpha: float, beta: float
) -> None:
    student, teacher, labels = batch
    slow = [slow_decoupled(v, z, label, temperature, alpha, beta) for v, z, label in zip(student, teacher, labels, strict=True)]
    found = decoupled_loss(tensor(student), tensor(teacher), torch.tensor(labels), temperature, alpha=alpha, beta=beta)
    assert found.tolist() == pytest.approx(slow, abs=1e-8)


@given(logit_batches(), st.floats(0.5, 10))
def test_decoupled_weighed_by_the_teachers_doubt_is_hintons(
    batch: tuple[list[list[float]], list[list[float]], list[int]], temperature: float
) -> None:
    student, teacher, labels = batch
    for v, z, label in zip(student, teacher, labels, strict=True):  # equation 6
        doubt = 1 - softmax(z, temperature)[label]
        found = decoupled_loss(tensor([v]), tensor([z]), torch.tensor([label]), temperature, alpha=1.0, beta=doubt)
        assert found.item() == pytest.approx(soft_loss(tensor([v]), tensor([z]), temperature).item(), abs=1e-8)


@given(logit_batches(), st.floats(1, 10), st.floats(0, 3), st.floats(0, 3))
def test_correlation_is_that_of_one_pair_at_a_time(
    batch: tuple[list[list[float]], list[list[float]], list[int]], temperature: float, beta: float, gamma: float
) -> None:
    student, teacher, _ = batch
    ours, theirs = ([softmax(row, temperature) for row in rows] for rows in (student, teacher))
    columns = [[list(column) for column in zip(*rows, strict=True)] for rows in (ours, theirs)]
    inter = [1 - slow_correlation(one, other) for one, other in zip(ours, theirs, strict=True)]
    intra = [1 - slow_correlation(one, other) for one, other in zip(*columns, strict=True)]
    slow = temperature**2 * (beta * sum(inter) / len(inter) + gamma * sum(intra) / len(intra))
    found = correlation_loss(tensor(student), tensor(teacher), temperature, beta=beta, gamma=gamma)
    assert found.shape == ()
    assert found.item() == pytest.approx(slow, rel=1e-5, abs=1e-5)


def test_correlation_of_equal_nets_is_zero_and_of_one_image_finite_with_a_gradient() -> None:
    logits = tensor([[1.0, 2.0, 4.0], [3.0, 0.0, 1.0]])
    assert correlation_loss(logits, logits, 2.0).item() == pytest.approx(0, abs=1e-7)
    single = tensor([[1.0, 2.0, 4.0]]).requires_grad_()
    value = correlation_loss(single, tensor([[1.0, 2.0, 4.0]]), 1.0)
    value.backward()  # type: ignore[no-untyped-call]
    assert value.item() == pytest.approx(1)  # over images there is nothing to correlate
    assert single.grad is not None
    assert bool(single.grad.isfinite().all())


def test_standardised_logits_by_hand() -> None:
    # Mean 2, deviations -1, 0, 1, standard deviation 1 over n - 1; equal logits are left at 0.
    logits = standardized(tensor([[1.0, 2.0, 3.0], [7.0, 7.0, 7.0]]))
    assert logits.flatten().tolist() == pytest.approx([-1, 0, 1, 0, 0, 0], abs=1e-6)


@given(logit_batches(), st.floats(0.1, 10), st.floats(-5, 5))
def test_a_standardised_loss_is_blind_to_size_and_shift(
    batch: tuple[list[list[float]], list[list[float]], list[int]], size: float, shift: float
) -> None:
    student, teacher, labels = tensor(batch[0]), tensor(batch[1]), torch.tensor(batch[2])
    for name in ("kd", "dkd"):
        loss = SoftLoss(name, standardize=True)
        moved = loss(size * student + shift, teacher, labels, 2.0)
        assert moved.tolist() == pytest.approx(loss(student, teacher, labels, 2.0).tolist(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", ["kd", "mse", "dkd", "dist"])
def test_the_gradient_of_each_loss_is_its_slope(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.tensor([0, 3, 1])

    def total(logits: Tensor) -> Tensor:
        return weighed(SoftLoss(name)(logits, teacher, labels, 2.0), logits, labels, alpha=0.7).total

    assert torch.autograd.gradcheck(total, student.requires_grad_())


@pytest.mark.parametrize("name", ["kd", "mse", "dkd", "dist"])
def test_each_loss_is_least_where_the_student_is_the_teacher(name: str) -> None:
    logits, labels = tensor([[3.0, 1.0, -2.0], [0.0, 1.0, 5.0]]), torch.tensor([0, 2])
    assert SoftLoss(name)(logits, logits, labels, 3.0).mean().item() == pytest.approx(0, abs=1e-6)
    assert SoftLoss(name)(logits.flip(1), logits, labels, 3.0).mean().item() > 0.1


def of_label(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Return a loss that needs each label."""
    return (student - teacher).square().gather(1, labels[:, None])[:, 0]


def nan_of_none(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Return a loss that is not a number where a label is missing."""
    return (student - teacher).square().sum(dim=1) * (labels + 1).sqrt()


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: SoftLoss("kl"), "kl: no such loss; choose one of kd, mse, dkd, dist, or give a function"),
    (lambda: SoftLoss("dkd", {"gamma": 1}), "gamma: dkd has no such weight; it has alpha, beta"),
    (lambda: SoftLoss("kd", {"beta": 1}), "beta: kd has no such weight; it has none"),
    (lambda: SoftLoss("dist", standardize=True), "dist: standardised logits fit kd and dkd alone"),
    (
        lambda: check_loss(SoftLoss("dkd"), TaskKind.ALL, unlabelled=1200),
        "dkd: needs the label of each image, and 1,200 have none; choose kd, mse or dist",
    ),
    (lambda: check_loss(SoftLoss("dist"), TaskKind.FULL), "dist: is one number for a batch, and a full softmax weighs"),
    (lambda: check_loss(SoftLoss("kd", standardize=True), TaskKind.DUSTBIN), "a dustbin's logit stands for many classes"),
    (
        lambda: check_loss(loss_of(lambda student, *_: student), TaskKind.ALL),
        "gives a tensor of shape (4, 3) for logits of 4 images; return",
    ),
    (lambda: check_loss(loss_of(lambda student, *_: student.sum().item()), TaskKind.ALL), "gives float for logits of 4 images"),
    (
        lambda: check_loss(loss_of(lambda student, *_: student[0, 0] / 0), TaskKind.ALL),
        "gives inf; return a loss that is finite",
    ),
    (
        lambda: check_loss(loss_of(of_label), TaskKind.ALL, unlabelled=9),
        "of_label: fails on logits of 4 images, 1 of them without a label (-100), and 3 classes (index -100 is out of bounds",
    ),
    (
        lambda: check_loss(loss_of(nan_of_none), TaskKind.ALL, unlabelled=9),
        "nan_of_none: gives nan where an image has no label (-100); return a loss that is finite",
    ),
    (
        lambda: check_loss(loss_of(lambda _, teacher, __: teacher.sum(dim=1)), TaskKind.ALL),
        "does not depend on the student's logits",
    ),
    (
        lambda: check_loss(loss_of(lambda student: student), TaskKind.ALL),
        "mend it: it is called with student logits, teacher logits and labels",
    ),
    (lambda: loss_of("nowhere:loss"), "nowhere can't be imported"),
]


@pytest.mark.parametrize(("act", "told"), WRONG)
def test_a_loss_that_does_not_fit_is_refused_in_one_line(act: Callable[[], object], told: str) -> None:
    with pytest.raises(UserError) as caught:
        act()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.field in {"loss", "standardize"}


def test_a_loss_in_a_file_is_called_with_the_temperature_if_it_takes_it_and_its_file_tells_it_apart(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "def plain(student, teacher, labels): return (student - teacher).abs().sum(dim=1)\n"
        "def at(student, teacher, labels, temperature): return ((student - teacher) / temperature).abs().sum(dim=1)\n"
    )
    student, teacher, labels = tensor([[1.0, 4.0]]), tensor([[0.0, 2.0]]), torch.tensor([0])
    plain, at = loss_of(f"{path}:plain"), loss_of(f"{path}:at")
    assert plain(student, teacher, labels, 2.0).tolist() == [3.0]
    assert at(student, teacher, labels, 2.0).tolist() == [1.5]
    assert not plain.needs_labels
    before = plain.facts()
    path.write_text(path.read_text() + "# changed\n")
    assert loss_of(f"{path}:plain").facts() != before


def test_a_loss_that_fails_on_a_batch_of_a_training_is_named_and_a_full_memory_is_not_its_fault() -> None:
    def of_three(student: Tensor, teacher: Tensor, _: Tensor) -> Tensor:
        if student.shape[1] > 3:
            raise failure
        return (student - teacher).square().sum(dim=1)

    loss, batch = loss_of(of_three), (torch.zeros(2, 10), torch.zeros(2, 10), torch.tensor([0, 1]), 2.0)
    failure: Exception = ValueError("three classes alone")
    with pytest.raises(
        UserError, match=r"of_three: fails on logits of 2 images and 10 classes \(three classes alone\); mend it"
    ):
        loss(*batch)
    failure = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(torch.OutOfMemoryError):
        loss(*batch)


def test_a_loss_is_tried_on_as_many_classes_as_the_data_have_and_where_it_spans_the_batch_not_as_a_full_softmax() -> None:
    weights = torch.linspace(1, 2, 10)

    def weighted(student: Tensor, teacher: Tensor, _: Tensor) -> Tensor:
        return (weights * (student - teacher).square()).sum(dim=1)

    check_loss(loss_of(weighted), TaskKind.ALL, 10)
    with pytest.raises(UserError, match="weighted: fails on logits of 4 images and 12 classes"):
        check_loss(loss_of(weighted), TaskKind.ALL, 12)
    check_loss(loss_of(lambda student, *_: student.mean()), TaskKind.DUSTBIN)
    with pytest.raises(UserError, match="is one number for a batch, and a full softmax weighs"):
        check_loss(loss_of(lambda student, *_: student.mean()), TaskKind.FULL, 10)
