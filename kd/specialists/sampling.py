"""The enriched epochs of a specialist (paper, section 5.2)."""

import math

import numpy as np
import torch
from torch import Tensor

from kd.specialists.clustering import Group


def epoch_rows(labels: Tensor, group: Group, *, own_fraction: float, seed: int, epoch: int) -> Tensor:
    """Return the rows of one epoch of a specialist: all of its own images, and others drawn at random (section 5.2).

    The others make up ``1 - own_fraction`` of the epoch. They are drawn without replacement; where there are too few,
    each is taken equally often, give or take once. The draw is a function of (seed, epoch) alone. Where there are no
    others, the epoch is the own images.

    Args:
        labels: (N,) class numbers.
        group: the specialist's classes.
        own_fraction: share of the epoch from the group, in (0, 1]; the paper has a half.
        seed: seed of the draw.
        epoch: number of the epoch.

    Returns:
        (M,) int64, the own rows first.

    Raises:
        ValueError: ``own_fraction`` is out of range, or no image is of the group.
    """
    if not 0 < own_fraction <= 1:
        raise ValueError(f"own_fraction must be in (0, 1], not {own_fraction}")
    own = torch.isin(labels, torch.tensor(group, device=labels.device))
    own_rows, others = own.nonzero()[:, 0], own.logical_not().nonzero()[:, 0]
    if len(own_rows) == 0:
        raise ValueError(f"no image is of the group {group}")
    wanted = round(len(own_rows) * (1 - own_fraction) / own_fraction)
    if wanted == 0 or len(others) == 0:
        return own_rows
    state = int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])
    generator = torch.Generator().manual_seed(state)
    rounds = math.ceil(wanted / len(others))
    drawn = torch.cat([others[torch.randperm(len(others), generator=generator)] for _ in range(rounds)])
    return torch.cat([own_rows, drawn[:wanted]])
