"""How much a generalist confuses each two classes, and classes as points that lie near where it does."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

LEAST = 1e-6
"""Affinity of classes that are never confused, relative to the largest: so that no class is alone in the graph."""


@dataclass(frozen=True)
class InGroups:
    """Mistakes between two classes of one group."""

    inside: int
    mistakes: int
    """All of them."""
    by_chance: float
    """The share that groups of these sizes would hold if no two classes were more alike than others."""


def confusion(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return how much each two classes are confused, (C, C) float64, symmetric: the mean probability of the wrong one of both.

    Probabilities tell more than answers: an accurate generalist hardly errs on val, but doubts. Their covariance, which needs
    no labels, is mostly that of the labels there: at T = 1 it hardly shows which classes are alike.

    Args:
        probabilities: predictions, (N, C).
        labels: true classes, (N,).
    """
    predictions = probabilities.to(device="cpu", dtype=torch.float64)
    classes = predictions.shape[1]
    rows = torch.zeros(classes, classes, dtype=torch.float64).index_add_(0, labels.cpu(), predictions)
    counts = torch.bincount(labels.cpu(), minlength=classes).clamp_min(1)
    means = rows / counts[:, None]  # the mean prediction of each class's images
    return (means + means.T) / 2


def embedded(affinity: Tensor, count: int) -> npt.NDArray[np.float64]:
    """Return classes as points (C, count) whose clusters cut little affinity (spectral clustering, Shi and Malik 2000).

    Args:
        affinity: (C, C), symmetric, 0 or more; what stands on the diagonal does not count.
        count: number of clusters to come.
    """
    graph = affinity.numpy().copy()
    np.fill_diagonal(graph, 0)
    graph = graph / max(graph.max(), np.finfo(np.float64).tiny) + LEAST
    np.fill_diagonal(graph, 0)
    root = np.sqrt(graph.sum(axis=1))
    _, vectors = np.linalg.eigh(graph / np.outer(root, root))  # eigenvalues in ascending order
    points = vectors[:, -count:] / root[:, None]
    return np.asarray(points / np.abs(points).max(), dtype=np.float64)


def in_groups(answers: Tensor, labels: Tensor, groups: tuple[tuple[int, ...], ...], classes: int) -> InGroups:
    """Return how many mistakes are between two classes of one group.

    Args:
        answers: predicted classes, (N,).
        labels: true classes, (N,).
        groups: groups of classes, which may overlap.
        classes: how many there are.
    """
    pairs = torch.zeros(classes, classes, dtype=torch.bool)
    for group in groups:
        members = torch.tensor(group)
        pairs[members[:, None], members] = True
    wrong = answers != labels
    inside = int(pairs[labels[wrong], answers[wrong]].sum())
    by_chance = (int(pairs.sum()) - int(pairs.diagonal().sum())) / (classes * (classes - 1))
    return InGroups(inside, int(wrong.sum()), by_chance)
