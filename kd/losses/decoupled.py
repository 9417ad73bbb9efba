"""Decoupled knowledge distillation: Zhao et al. (2022), "Decoupled Knowledge Distillation", equation 7."""

import torch
from torch import Tensor
from torch.nn import functional as F


def decoupled_loss(  # noqa: PLR0913 - the terms, and their weights
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, *, alpha: float = 1.0, beta: float = 8.0
) -> Tensor:
    """Return ``T^2 (alpha TCKD + beta NCKD)`` for each image.

    TCKD is the KL divergence of two probabilities, that of the label's class and that of all others; NCKD is the one among the
    other classes alone. With ``alpha = 1``, and ``beta`` the teacher's probability of the other classes, the sum is Hinton's KL
    (equation 6).

    Args:
        student: logits, (B, C), of 2 classes or more.
        teacher: logits, (B, C).
        labels: (B,) int64; each image has one.
        temperature: T > 0.
        alpha: weight of TCKD.
        beta: weight of NCKD.

    Returns:
        (B,), in nats.
    """
    student_log = F.log_softmax(student / temperature, dim=1)  # (B, C)
    teacher_log = F.log_softmax(teacher / temperature, dim=1)  # (B, C)
    is_target = F.one_hot(labels, student.shape[1]).bool()  # (B, C)
    target = _kl(_two(student_log, is_target), _two(teacher_log, is_target))  # (B,)
    others = _kl(_others(student / temperature, is_target), _others(teacher / temperature, is_target))  # (B,)
    return temperature**2 * (alpha * target + beta * others)


def _two(logs: Tensor, is_target: Tensor) -> Tensor:
    """Return the logarithms of the probabilities of the target and of all other classes, (B, 2)."""
    others = logs.masked_fill(is_target, -torch.inf).logsumexp(dim=1)
    return torch.stack([logs[is_target], others], dim=1)


def _others(logits: Tensor, is_target: Tensor) -> Tensor:
    """Return the logarithms of the probabilities among the classes that are not the target, (B, C - 1)."""
    return F.log_softmax(logits[~is_target].view(len(logits), -1), dim=1)


def _kl(student_log: Tensor, teacher_log: Tensor) -> Tensor:
    return F.kl_div(student_log, teacher_log, reduction="none", log_target=True).sum(dim=1)
