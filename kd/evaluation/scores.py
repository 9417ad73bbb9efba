"""Scores from logits."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kd.errors import UserError

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Scores:
    """The fit of logits to labels, over n images."""

    accuracy: float
    """Share of images whose largest logit is the label's."""
    nll: float
    """Mean negative log-likelihood of the labels, in nats."""
    calibration_error: float
    """Expected calibration error over 15 bins of equal width."""

    own_accuracy: float | None = None
    """Accuracy of a specialist on the images of its own classes, among its own classes; None: all classes are its own.

    By it a generalist restricted to these classes, a specialist with a dustbin and one without can be compared.
    """
    balanced_accuracy: float | None = None
    """Mean over classes of the accuracy on their images, so that each class counts the same; None: it was not scored."""
    own_balanced_accuracy: float | None = None
    """The same of ``own_accuracy``."""

    @property
    def rank(self) -> tuple[float, float]:
        """Return the key by which epochs are compared, larger is better: accuracy on the own classes, then likelihood."""
        return self.accuracy if self.own_accuracy is None else self.own_accuracy, -self.nll


def score(logits: Tensor, labels: Tensor) -> Scores:
    """Score logits against labels.

    Args:
        logits: (N, C).
        labels: (N,) int64.

    Raises:
        UserError: there are not as many labels as rows of logits.
    """
    if len(logits) != len(labels):
        raise UserError(f"{len(logits)} rows of logits and {len(labels)} labels can't be scored; give as many of both")
    labels = labels.to(logits.device)
    probabilities = logits.softmax(dim=1)
    confidence = probabilities.amax(dim=1)
    # Two logits can differ where their probabilities, rounded, do not.
    correct = logits.argmax(dim=1) == labels
    return Scores(
        accuracy=correct.double().mean().item(),
        nll=F.cross_entropy(logits, labels).item(),
        calibration_error=calibration_error(confidence, correct),
        balanced_accuracy=balanced_accuracy(correct, labels),
    )


def balanced_accuracy(correct: Tensor, labels: Tensor) -> float:
    """Return the mean over classes of the share of their images that are right; classes without images do not count.

    Args:
        correct: (N,) bool.
        labels: (N,) int64.
    """
    return _class_accuracies(correct, labels).nanmean().item()


def calibration_error(confidence: Tensor, correct: Tensor, bins: int = CALIBRATION_BINS) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy, weighted by bin counts.

    Bins of equal width, closed on the right (Guo et al. 2017, equation 3).

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        bins: number of bins.
    """
    which = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)  # (N,)
    gaps = torch.zeros(bins, dtype=torch.float64, device=confidence.device)
    gaps.scatter_add_(0, which, confidence.double() - correct.double())  # (bins,): count x gap
    return (gaps.abs().sum() / len(confidence)).item()


def agreement(logits: Tensor, others: Tensor) -> float:
    """Return the share of images on which two models' largest logits name the same class; both (N, C)."""
    return (logits.argmax(dim=1) == others.argmax(dim=1)).double().mean().item()


def per_class_accuracy(logits: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Return the accuracy on the images of each class, (num_classes,) float64; NaN for a class without images."""
    return _class_accuracies(logits.argmax(dim=1) == labels, labels, num_classes)


def _class_accuracies(correct: Tensor, labels: Tensor, num_classes: int = 0) -> Tensor:
    counts = torch.bincount(labels, minlength=num_classes)
    hits = torch.zeros(len(counts), dtype=torch.float64, device=labels.device).scatter_add_(0, labels, correct.double())
    return hits / counts
