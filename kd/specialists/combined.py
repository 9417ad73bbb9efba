"""The generalist, its specialists and Eq. 5 as one net."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd.specialists.clustering import Group
from kd.specialists.dustbin import apply_correction
from kd.specialists.eq5 import active_set, float64, solve, solve_one
from kd.specialists.kind import TaskKind


@dataclass(frozen=True, eq=False)
class Specialist:
    """A trained net, and the classes that its logits stand for."""

    model: nn.Module
    """Maps uint8 images (B, channels, H, W) to logits: (B, K + 1), (B, K) or (B, C), by its kind."""
    group: Group
    kind: TaskKind = TaskKind.DUSTBIN
    """Whether the logits are of the group's classes and the dustbin, of the group's classes alone, or of all classes."""
    correction: float = 0.0
    """Shift of the dustbin's logit in nats; without effect where there is no dustbin."""


class CombinedModel(nn.Module):
    """The generalist, its specialists and Eq. 5 as one net: uint8 images (B, channels, H, W) to probabilities (B, C).

    Each specialist has a say on the images for which one of the generalist's ``top_n`` most probable classes is in its group,
    with its probabilities at T = 1. By kind:

    - dustbin: as in the paper, with its correction.
    - own: knows its own classes alone, so the generalist gives the probability of the group S: p_m(c) = p_g(S) p_own(c), and
      the dustbin has 1 - p_g(S).
    - full: has an opinion on all classes and no dustbin (section 6.1).

    Every net runs on the whole batch and nothing branches on data: ``torch.export.export`` takes it with a dynamic batch, and
    ONNX where no image has two specialists.
    """

    groups: Tensor
    """(M, C) bool: the classes that call each specialist."""
    member: Tensor
    """(M, C) bool: the classes that each specialist tells apart; all of them for the kind ``full``."""
    place: Tensor
    """(M, C) int64: the place of each class among a specialist's logits; one past the last for a class that it lacks."""

    def __init__(self, generalist: nn.Module, specialists: Sequence[Specialist], num_classes: int, top_n: int = 1) -> None:
        """Take the parts as they are; call ``eval()`` on the whole.

        Raises:
            ValueError: a group's classes are not ascending or not of the data set, or ``top_n`` is not in [1, C].
        """
        super().__init__()
        if not 1 <= top_n <= num_classes:
            raise ValueError(f"top_n must be in [1, {num_classes}], not {top_n}")
        for specialist in specialists:
            if list(specialist.group) != sorted(set(specialist.group) & set(range(num_classes))):
                raise ValueError(f"group {specialist.group} is not of ascending classes below {num_classes}")
        self.generalist = generalist
        self.specialists = nn.ModuleList(specialist.model for specialist in specialists)
        self.kinds = tuple(specialist.kind for specialist in specialists)
        self.corrections = tuple(specialist.correction for specialist in specialists)
        self.top_n = top_n
        told_apart = [range(num_classes) if part.kind == TaskKind.FULL else part.group for part in specialists]
        self.sizes = tuple(len(known) for known in told_apart)
        self.register_buffer("groups", _membership([part.group for part in specialists], num_classes))
        self.one_has_a_say = top_n == 1 and bool((self.groups.sum(dim=0) <= 1).all())
        self.register_buffer("member", _membership(told_apart, num_classes))
        counted = self.member.cumsum(dim=1) - 1  # (M, C)
        self.register_buffer("place", torch.where(self.member, counted, self.member.sum(dim=1, keepdim=True)))

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities (B, C), in the dtype of the generalist's logits."""
        logits = self.generalist(images)  # (B, C)
        generalist = float64(logits).softmax(dim=1)
        if not self.kinds:
            return generalist.to(device=logits.device, dtype=logits.dtype)
        opinions = [self._opinion(number, images, generalist) for number in range(len(self.kinds))]
        inside = torch.stack([own for own, _ in opinions], dim=1)  # (B, M, C)
        dustbin = torch.stack([rest for _, rest in opinions], dim=1)  # (B, M)
        active = active_set(generalist, self.groups, self.top_n)  # (B, M)
        if self.one_has_a_say:
            combined = solve_one(generalist, inside, dustbin, self.member, active)
        else:
            combined = solve(generalist, inside, dustbin, self.member, active).probabilities
        return combined.to(device=logits.device, dtype=logits.dtype)

    def _opinion(self, number: int, images: Tensor, generalist: Tensor) -> tuple[Tensor, Tensor]:
        """Return one specialist's probabilities of the classes (B, C), 0 where it lacks them, and of its dustbin (B,)."""
        logits = float64(self.specialists[number](images))
        if self.kinds[number] == TaskKind.DUSTBIN:
            logits = apply_correction(logits, self.corrections[number])
        probabilities = logits.softmax(dim=1)
        place = self.place[number].to(probabilities.device)  # (C,)
        own = F.pad(probabilities[:, : self.sizes[number]], (0, 1)).index_select(1, place)  # (B, C)
        if self.kinds[number] == TaskKind.DUSTBIN:
            return own, probabilities[:, -1]
        if self.kinds[number] == TaskKind.FULL:
            return own, torch.zeros_like(own[:, 0])
        known = self.member[number].to(generalist.device)  # (C,)
        return own * (generalist * known).sum(dim=1, keepdim=True), (generalist * ~known).sum(dim=1)


def _membership(groups: Sequence[Sequence[int]], num_classes: int) -> Tensor:
    """Return which classes each group holds: (M, C) bool."""
    member = torch.zeros(len(groups), num_classes, dtype=torch.bool)
    for row, group in zip(member, groups, strict=True):
        row[list(group)] = True
    return member
