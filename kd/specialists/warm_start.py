"""Weights that a specialist takes over from the generalist (paper, section 5.2)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from kd.specialists.clustering import Group
from kd.specialists.kind import TaskKind


def inherited_weights(
    generalist: Mapping[str, Tensor], own: Mapping[str, Tensor], group: Group, num_classes: int, kind: TaskKind
) -> dict[str, Tensor] | None:
    """Return the first weights of a specialist whose net is the generalist's but for the last layer.

    The last layer has one row per class. The group's rows are taken over; the dustbin's is the mean of all other rows. A
    specialist of all classes takes every row.

    Args:
        generalist: the generalist's weights by name.
        own: the specialist's fresh weights by name.
        group: the specialist's classes.
        num_classes: rows of the generalist's last layer.
        kind: what the specialist tells apart.

    Returns:
        Weights for every name of ``own``; None where the nets do not match.
    """
    if generalist.keys() != own.keys():
        return None
    last = set() if kind == TaskKind.FULL else _last_layer(generalist, num_classes)
    outside = [number for number in range(num_classes) if number not in group]
    inherited = {}
    for name, weight in own.items():
        theirs = generalist[name].to(weight.device)
        if theirs.shape == weight.shape and name not in last:
            inherited[name] = theirs.clone()
        elif theirs.shape[:1] == (num_classes,) and theirs.shape[1:] == weight.shape[1:]:
            dustbin = [] if kind == TaskKind.OWN else [theirs[outside].mean(dim=0, keepdim=True)]
            inherited[name] = torch.cat([theirs[list(group)], *dustbin])  # (K or K + 1, ...)
        if name not in inherited or inherited[name].shape != weight.shape:
            return None
    return inherited


def _last_layer(weights: Mapping[str, Tensor], num_classes: int) -> set[str]:
    """Return the names of the last layer's weights: those of the last module that has a row per class.

    Their shape does not tell it where a group is all classes but one: with the dustbin it has as many rows as the generalist.
    """
    modules = [name.rpartition(".")[0] for name, weight in weights.items() if weight.shape[:1] == (num_classes,)]
    return {name for name in weights if name.rpartition(".")[0] in modules[-1:]}
