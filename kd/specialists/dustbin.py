"""The dustbin of a specialist: its targets, its labels, and the correction of its logit.

Hinton, Vinyals and Dean (2015), section 5. A group's classes keep their order, and the dustbin is last.
"""

import math

import torch
from torch import Tensor

from kd.specialists.clustering import Group

MAX_CORRECTION = 20.0
"""The largest correction that is fitted, in nats: beyond it the likelihood hardly changes."""


def group_logits(logits: Tensor, group: Group, *, dustbin: bool, temperature: float) -> Tensor:
    """Return a generalist's logits as those of a group, whose softmax at T gives the dustbin all that is outside.

    The dustbin's logit is ``T logsumexp(z_outside / T)``, so that its probability at T is the sum of the others'
    (section 5.2). Without a dustbin the softmax renormalises over the group by itself.

    Args:
        logits: z, (B, C).
        group: K class numbers.
        dustbin: append the dustbin.
        temperature: T > 0.

    Returns:
        (B, K + 1) with the dustbin, else (B, K).
    """
    own = logits[:, list(group)]  # (B, K)
    if not dustbin:
        return own
    outside = [number for number in range(logits.shape[1]) if number not in group]
    rest = temperature * torch.logsumexp(logits[:, outside] / temperature, dim=1, keepdim=True)  # (B, 1)
    return torch.cat([own, rest], dim=1)


def group_labels(labels: Tensor, group: Group, num_classes: int, *, dustbin: bool) -> Tensor:
    """Return labels (N,) as a group's: its classes 0..K-1 in order, all others K, the dustbin.

    Raises:
        ValueError: there is no dustbin, and a label is of another class.
    """
    table = torch.full((num_classes,), len(group), dtype=torch.int64, device=labels.device)
    table[list(group)] = torch.arange(len(group), device=labels.device)
    relabelled = table[labels]
    if not dustbin and bool((relabelled == len(group)).any()):
        raise ValueError("labels outside the group, and no dustbin to put them in")
    return relabelled


def paper_correction(counts: Tensor, group: Group, own_fraction: float) -> float:
    """Return what the paper adds to the dustbin's logit: the log of how much oversampled the group is (section 5.2).

    It is the log of the dustbin's odds in the data over its odds in the epochs; for k of C balanced classes sampled
    half and half, ``log((C - k) / k)``.

    Args:
        counts: training images of each class, (C,).
        group: the specialist's classes.
        own_fraction: share of an epoch from the group, in (0, 1).

    Raises:
        ValueError: ``own_fraction`` is out of range (at 1 the dustbin has no images), or the group or the rest has no images.
    """
    if not 0 < own_fraction < 1:
        raise ValueError(f"own_fraction must be in (0, 1), not {own_fraction}")
    own = counts[list(group)].sum().item()
    others = counts.sum().item() - own
    if own <= 0 or others <= 0:
        raise ValueError(f"expected images of the group and of the rest, got {own} and {others}")
    return math.log(others / own) - math.log((1 - own_fraction) / own_fraction)


def fit_correction(logits: Tensor, labels: Tensor) -> float:
    """Return the shift of the dustbin's logit that makes labels most likely.

    The negative log-likelihood is convex in the shift. Its derivative is the dustbin's probability summed over the images of
    the group, less what the dustbin lacks of one summed over the others: the minimum is where the two are equal.

    Args:
        logits: on validation images, (N, K + 1), the dustbin last.
        labels: (N,), K for the dustbin.

    Returns:
        The shift, within +-20; the bound where all labels are on one side, 0 where no shift changes anything.
    """
    logits = logits.to(device="cpu", dtype=torch.float64)
    odds = logits[:, -1] - logits[:, :-1].logsumexp(dim=1)  # (N,)
    outside = (labels == logits.shape[1] - 1).cpu()

    def slope(shift: float) -> float:
        return float((odds[~outside] + shift).sigmoid().sum() - (-odds[outside] - shift).sigmoid().sum())

    if slope(0.0) == 0:
        return 0.0
    if slope(-MAX_CORRECTION) >= 0:
        return -MAX_CORRECTION
    if slope(MAX_CORRECTION) <= 0:
        return MAX_CORRECTION
    from scipy.optimize import brentq  # noqa: PLC0415 - a slow import, of no use to a training

    return float(brentq(slope, -MAX_CORRECTION, MAX_CORRECTION))


def apply_correction(logits: Tensor, correction: float) -> Tensor:
    """Return logits (N, K + 1) with the correction added to the dustbin's, the last."""
    return torch.cat([logits[:, :-1], logits[:, -1:] + correction], dim=1)
