"""Biases of classes that a student saw too rarely, or too often, raised or lowered by one number (paper, section 3)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def shifted(logits: Tensor, classes: Sequence[int], shift: float) -> Tensor:
    """Return logits (N, C) with a number added to those of some classes: what a change of their biases does."""
    return logits.index_add(1, torch.tensor(classes), torch.full((len(logits), len(classes)), shift, dtype=logits.dtype))


def best_shift(logits: Tensor, labels: Tensor, classes: Sequence[int]) -> float:
    """Return the number that, added to the biases of some classes, makes the fewest errors; of equals the likeliest one.

    An image is answered with one of these classes where the number is above the margin by which the others lead. Between two
    neighbouring margins no answer changes, so that the middle of each gap stands for all numbers in it.

    Args:
        logits: (N, C).
        labels: (N,) int64.
        classes: some classes, not all.
    """
    logits = logits.double()
    inside = torch.zeros(logits.shape[1], dtype=torch.bool)
    inside[list(classes)] = True
    best_in, best_out = logits.masked_fill(~inside, -torch.inf).max(dim=1), logits.masked_fill(inside, -torch.inf).max(dim=1)
    margins, order = (best_out.values - best_in.values).sort()
    right_in, right_out = ((best.indices == labels)[order].long() for best in (best_in, best_out))
    # With the shift between margins k - 1 and k, the first k images are answered with one of the classes.
    below = F.pad(right_in.cumsum(0), (1, 0))
    above = right_out.sum() - F.pad(right_out.cumsum(0), (1, 0))
    ends = torch.cat([margins[:1] - 1, margins, margins[-1:] + 1])
    middles = (ends[:-1] + ends[1:]) / 2
    right = (below + above).masked_fill(ends[1:] <= ends[:-1], -1)  # between equal margins there is no gap
    candidates = middles[right == right.max()]
    losses = [F.cross_entropy(shifted(logits, classes, float(shift)), labels) for shift in candidates]
    return float(candidates[int(torch.stack(losses).argmin())])
