"""Losses against values worked out by hand, the paper's limit, and a slow version that takes one image at a time."""

import math

import pytest
import torch
from by_hand import softmax, tensor
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kd.losses.hard_targets import hard_loss
from kd.losses.soft_targets import distillation_loss, soft_loss
from kd.losses.terms import LossTerms

LN2, LN3 = math.log(2), math.log(3)


def slow_soft(student: list[float], teacher: list[float], temperature: float) -> float:
    pairs = zip(softmax(teacher, temperature), softmax(student, temperature), strict=True)
    return temperature**2 * sum(p * math.log(p / q) for p, q in pairs)


def slow_hard(logits: list[float], label: int) -> float:
    return -math.log(softmax(logits, 1.0)[label])


@st.composite
def logit_batches(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]], list[int]]:
    """Draw logits of a student and of a teacher, and labels, for 1 to 5 images of 2 to 6 classes."""
    images, classes = draw(st.integers(1, 5)), draw(st.integers(2, 6))
    rows = st.lists(st.floats(-8, 8), min_size=classes, max_size=classes)
    batch = st.lists(rows, min_size=images, max_size=images)
    labels = st.lists(st.integers(0, classes - 1), min_size=images, max_size=images)
    return draw(batch), draw(batch), draw(labels)


def test_soft_loss_of_two_classes_by_hand() -> None:
    # At T = 2 the teacher has 3/4 and 1/4, the student 1/2 and 1/2: KL = 3/4 ln(3/2) + 1/4 ln(1/2) = 3/4 ln 3 - ln 2.
    result = soft_loss(tensor([[5.0, 5.0]]), tensor([[2 * LN3, 0.0]]), 2.0)
    assert result.tolist() == pytest.approx([4 * (0.75 * LN3 - LN2)])


def test_soft_loss_of_three_classes_by_hand_is_from_teacher_to_student() -> None:
    # Teacher 1/2, 1/4, 1/4; student 1/4, 1/4, 1/2 : KL = 1/2 ln 2 + 0 - 1/4 ln 2. A second image has nothing to learn.
    teacher = tensor([[LN2, 0, 0], [1, 2, 3]])
    student = tensor([[0, 0, LN2], [1, 2, 3]])
    assert soft_loss(student, teacher, 1.0).tolist() == pytest.approx([LN2 / 4, 0], abs=1e-12)
    # The other direction has another value: the teacher is certain to e^-20, the student is not.
    certain, even = tensor([[20.0, 0.0]]), tensor([[0.0, 0.0]])
    assert soft_loss(even, certain, 1.0).item() == pytest.approx(LN2, abs=1e-6)
    assert soft_loss(certain, even, 1.0).item() == pytest.approx(10 - LN2, abs=1e-6)


@given(logit_batches(), st.floats(0.5, 20), st.floats(0, 1))
def test_distillation_loss_is_that_of_one_image_at_a_time(
    batch: tuple[list[list[float]], list[list[float]], list[int]], temperature: float, alpha: float
) -> None:
    student, teacher, labels = batch
    soft = [slow_soft(v, z, temperature) for v, z in zip(student, teacher, strict=True)]
    hard = [slow_hard(v, label) for v, label in zip(student, labels, strict=True)]
    terms = distillation_loss(tensor(student), tensor(teacher), torch.tensor(labels), temperature=temperature, alpha=alpha)
    expected_soft, expected_hard = sum(soft) / len(soft), sum(hard) / len(hard)
    assert soft_loss(tensor(student), tensor(teacher), temperature).tolist() == pytest.approx(soft, abs=1e-9)
    assert terms.soft.item() == pytest.approx(expected_soft, abs=1e-9)
    assert terms.hard.item() == pytest.approx(expected_hard, abs=1e-9)
    assert terms.total.item() == pytest.approx(alpha * expected_soft + (1 - alpha) * expected_hard, abs=1e-9)


@given(logit_batches(), st.floats(0.5, 20), st.floats(-50, 50))
def test_soft_loss_is_zero_at_equality_and_blind_to_a_constant(
    batch: tuple[list[list[float]], list[list[float]], list[int]], temperature: float, constant: float
) -> None:
    student, teacher, _ = batch
    zeros = soft_loss(tensor(teacher) + constant, tensor(teacher), temperature)
    assert zeros.tolist() == pytest.approx([0.0] * len(teacher), abs=1e-9)
    assert all(value >= -1e-9 for value in soft_loss(tensor(student), tensor(teacher), temperature).tolist())


def soft_gradient(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the gradient of the summed soft loss by the student's logits."""
    student = student.clone().requires_grad_()
    [gradient] = torch.autograd.grad(soft_loss(student, teacher, temperature).sum(), student)
    return gradient


def test_at_high_temperature_the_gradient_is_the_difference_of_the_logits_over_the_classes() -> None:
    # Section 2: for logits of mean zero the gradient by v tends to (v - z) / (C T^2), here times T^2.
    student, teacher = tensor([[3.0, -1.0, -2.0], [0.0, 1.0, -1.0]]), tensor([[-2.0, 2.0, 0.0], [1.0, 1.0, -2.0]])
    limit = (student - teacher) / 3
    errors = [(soft_gradient(student, teacher, t) - limit).abs().max().item() for t in (10.0, 100.0, 1000.0)]
    assert errors[0] > 5 * errors[1] > 25 * errors[2]  # of order 1 / T
    assert errors[2] < 5e-3


@given(logit_batches(), st.floats(0.5, 20))
def test_soft_gradient_is_the_difference_of_the_softmaxes_times_the_temperature(
    batch: tuple[list[list[float]], list[list[float]], list[int]], temperature: float
) -> None:
    student, teacher, _ = batch
    gradient = soft_gradient(tensor(student), tensor(teacher), temperature)
    for row, v, z in zip(gradient.tolist(), student, teacher, strict=True):
        pairs = zip(softmax(v, temperature), softmax(z, temperature), strict=True)
        assert row == pytest.approx([temperature * (q - p) for q, p in pairs], abs=1e-9)


def test_a_batch_twice_as_long_has_the_same_loss_and_twice_the_classes_do_not_halve_it() -> None:
    # KLDivLoss without batchmean divides by the classes as well.
    student, teacher, labels = tensor([[1.0, 0.0], [0.5, 2.0]]), tensor([[0.0, 3.0], [1.0, 1.0]]), torch.tensor([0, 1])
    once = distillation_loss(student, teacher, labels, temperature=3.0, alpha=0.7)
    twice = distillation_loss(student.repeat(2, 1), teacher.repeat(2, 1), labels.repeat(2), temperature=3.0, alpha=0.7)
    assert [term.item() for term in twice] == pytest.approx([term.item() for term in once])
    unlikely = torch.full((2, 8), -500.0, dtype=torch.float64)
    wider = soft_loss(torch.cat([student, unlikely], dim=1), torch.cat([teacher, unlikely], dim=1), 3.0)
    assert wider.tolist() == pytest.approx(soft_loss(student, teacher, 3.0).tolist())


@pytest.mark.parametrize(("alpha", "ignored"), [(0.0, "teacher"), (1.0, "labels")])
def test_alpha_of_zero_and_one_leave_one_term_out(alpha: float, ignored: str) -> None:
    student = tensor([[1.0, 0.0, 2.0], [0.5, 2.0, 1.0]])
    teachers = [tensor([[0.0, 3.0, 1.0], [1.0, 1.0, 4.0]]), tensor([[9.0, 3.0, 1.0], [1.0, 1.0, -4.0]])]
    labels = [torch.tensor([0, 1]), torch.tensor([2, 2])]

    def total(teacher: Tensor, label: Tensor) -> tuple[float, list[list[float]]]:
        leaf = student.clone().requires_grad_()
        loss = distillation_loss(leaf, teacher, label, temperature=4.0, alpha=alpha).total
        [gradient] = torch.autograd.grad(loss, leaf)
        return loss.item(), gradient.tolist()

    base, other_teacher, other_labels = (
        total(teachers[0], labels[0]),
        total(teachers[1], labels[0]),
        total(teachers[0], labels[1]),
    )
    assert (base == other_teacher) is (ignored == "teacher")
    assert (base == other_labels) is (ignored == "labels")


def test_hard_loss_spreads_the_smoothed_share_over_all_classes() -> None:
    # Logits of the probabilities 1/2, 1/4, 1/4, label 0, smoothing 0.3: targets 0.8, 0.1, 0.1.
    logits, labels = tensor([[LN2, 0.0, 0.0]]), torch.tensor([0])
    plain, smooth = hard_loss(logits, labels), hard_loss(logits, labels, 0.3)
    assert [term.item() for term in plain] == pytest.approx([LN2, 0, LN2])
    assert smooth.total.item() == pytest.approx(0.8 * LN2 + 0.2 * 2 * LN2)


def test_terms_are_scalars_that_carry_the_gradient_and_keep_the_type() -> None:
    student = torch.zeros(4, 3, requires_grad=True)
    terms = distillation_loss(student, torch.ones(4, 3), torch.zeros(4, dtype=torch.int64), temperature=2.0, alpha=0.5)
    assert isinstance(terms, LossTerms)
    assert all(term.shape == () and term.dtype == torch.float32 and term.requires_grad for term in terms)


@given(logit_batches(), st.floats(0.5, 20), st.floats(0, 1), st.floats(0, 0.5), st.data())
def test_an_image_without_a_label_adds_the_soft_term_with_its_weight_and_nothing_else(
    batch: tuple[list[list[float]], list[list[float]], list[int]],
    temperature: float,
    alpha: float,
    smoothing: float,
    data: st.DataObject,
) -> None:
    students, teachers, labels = batch
    has_label = data.draw(st.lists(st.booleans(), min_size=len(labels), max_size=len(labels)))
    given = [label if has else -100 for label, has in zip(labels, has_label, strict=True)]
    terms = distillation_loss(
        tensor(students),
        tensor(teachers),
        torch.tensor(given),
        temperature=temperature,
        alpha=alpha,
        label_smoothing=smoothing,
    )
    soft = [slow_soft(student, teacher, temperature) for student, teacher in zip(students, teachers, strict=True)]
    hard = [
        (1 - smoothing) * slow_hard(student, label)
        + smoothing * sum(slow_hard(student, other) for other in range(len(student))) / len(student)
        if has
        else 0.0
        for student, label, has in zip(students, labels, has_label, strict=True)
    ]
    each = [alpha * one + (1 - alpha) * other for one, other in zip(soft, hard, strict=True)]
    assert terms.total.item() == pytest.approx(sum(each) / len(each), rel=1e-6, abs=1e-9)
    assert terms.hard.item() == pytest.approx(sum(hard) / len(hard), rel=1e-6, abs=1e-9)
    assert terms.soft.item() == pytest.approx(sum(soft) / len(soft), rel=1e-6, abs=1e-9)
