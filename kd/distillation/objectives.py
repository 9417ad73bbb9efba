"""The objectives of trainings: hard targets alone, or a teacher's soft targets beside them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from kd.data.batches import Batch
from kd.distillation.targets import TeacherTargets
from kd.distillation.task import Task
from kd.losses.hard_targets import hard_loss
from kd.losses.soft_targets import distillation_loss, soft_loss
from kd.losses.terms import LossTerms
from kd.specialists.kind import TaskKind
from kd.training.loop import Objective


def hard_objective(label_smoothing: float = 0.0) -> Objective:
    """Return the objective of a teacher and of a control: hard targets only."""
    return lambda logits, batch: hard_loss(logits, batch.labels, label_smoothing)


def soft_objective(
    task: Task, targets: TeacherTargets, *, temperature: float, alpha: float, label_smoothing: float = 0.0
) -> Objective:
    """Return the distillation objective of a task, with a teacher's targets cached or live."""

    def distil(logits: Tensor, batch: Batch) -> LossTerms:
        teacher = task.of_teacher(targets(batch), temperature)  # (B, C')
        return distillation_loss(
            logits, teacher, batch.labels, temperature=temperature, alpha=alpha, label_smoothing=label_smoothing
        )

    def distil_full(logits: Tensor, batch: Batch) -> LossTerms:
        # Section 6.1: the classes outside the group are learned from soft targets alone.
        soft = soft_loss(logits, targets(batch), temperature)  # (B,)
        hard = F.cross_entropy(logits, batch.labels, reduction="none", label_smoothing=label_smoothing)  # (B,)
        own = task.own_images(batch.labels)  # (B,)
        total = torch.where(own, alpha * soft + (1 - alpha) * hard, soft)
        return LossTerms(total=total.mean(), soft=soft.mean(), hard=(hard * own).sum() / own.sum().clamp(min=1))

    return distil_full if task.kind == TaskKind.FULL else distil
