"""Standardised logits: Sun et al. (2024), "Logit Standardization in Knowledge Distillation", algorithm 1."""

from torch import Tensor

EPSILON = 1e-7
"""As in the authors' code: equal logits are left at 0."""


def standardized(logits: Tensor) -> Tensor:
    """Return logits (B, C) less their mean over the classes, divided by their standard deviation.

    The student then need not reach the size of the teacher's logits; the temperature alone decides how soft both are.
    """
    centred = logits - logits.mean(dim=1, keepdim=True)
    return centred / (logits.std(dim=1, keepdim=True) + EPSILON)
