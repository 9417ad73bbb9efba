"""Cross-entropy with the labels alone."""

import torch
from torch import Tensor
from torch.nn import functional as F

from kd.losses.terms import LossTerms


def hard_loss(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> LossTerms:
    """Return the cross-entropy with hard targets alone: the loss of a teacher and of a control.

    Args:
        logits: (B, C).
        labels: (B,) int64.
        label_smoothing: share of each target spread evenly over the classes.
    """
    hard = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    return LossTerms(total=hard, soft=torch.zeros_like(hard), hard=hard)
