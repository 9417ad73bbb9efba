"""DIST: Huang et al. (2022), "Knowledge Distillation from A Stronger Teacher", equations 6 to 11."""

import torch
from torch import Tensor

EPSILON = 1e-8
"""Keeps a row that is constant from a division by zero; its correlation with any other is 0."""


def correlation_loss(student: Tensor, teacher: Tensor, temperature: float, *, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    """Return ``T^2 (beta inter + gamma intra)``, which spans the batch.

    The student's probabilities need not equal the teacher's, but go up and down with them: ``inter`` is the mean over images of
    one less Pearson's correlation over classes, ``intra`` the mean over classes of the same over the images of the batch.

    Args:
        student: logits, (B, C).
        teacher: logits, (B, C).
        temperature: T > 0.
        beta: weight of ``inter``.
        gamma: weight of ``intra``; of a single image it is 1.

    Returns:
        A scalar.
    """
    ours, theirs = (torch.softmax(logits / temperature, dim=1) for logits in (student, teacher))  # (B, C)
    inter = 1 - _correlation(ours, theirs).mean()
    intra = 1 - _correlation(ours.T, theirs.T).mean()
    return temperature**2 * (beta * inter + gamma * intra)


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    """Return Pearson's correlation of each two rows (N, M), (N,)."""
    centred = [rows - rows.mean(dim=1, keepdim=True) for rows in (one, other)]
    # The root of a sum of squares has no gradient at 0.
    norms = [rows.square().sum(dim=1).clamp(min=EPSILON**2).sqrt() for rows in centred]
    return (centred[0] * centred[1]).sum(dim=1) / (norms[0] * norms[1])
