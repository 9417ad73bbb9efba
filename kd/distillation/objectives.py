"""The objectives of trainings: hard targets alone, or a teacher's soft targets beside them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from kd.data.batches import Batch
from kd.distillation.targets import TeacherTargets
from kd.distillation.task import Task
from kd.errors import UserError
from kd.losses.choice import TRIED_CLASSES, SoftLoss, tried
from kd.losses.hard_targets import hard_loss
from kd.losses.soft_targets import weighed
from kd.losses.terms import LossTerms
from kd.specialists.kind import TaskKind
from kd.training.loop import Objective

HINTON = SoftLoss()


def hard_objective(label_smoothing: float = 0.0) -> Objective:
    """Return the objective of a teacher and of a control: hard targets only."""
    return lambda logits, batch: hard_loss(logits, batch.labels, label_smoothing)


def soft_objective(  # noqa: PLR0913 - the terms of a loss, and what they are weighed by
    task: Task,
    targets: TeacherTargets,
    *,
    temperature: float,
    alpha: float,
    label_smoothing: float = 0.0,
    loss: SoftLoss = HINTON,
) -> Objective:
    """Return the distillation objective of a task, with a teacher's targets cached or live.

    Raises:
        UserError: the loss does not fit the task.
    """
    check_loss(loss, task.kind, len(task.classes))

    def distil(logits: Tensor, batch: Batch) -> LossTerms:
        teacher = task.of_teacher(targets(batch), loss.temperature(temperature))  # (B, C')
        soft = loss(logits, teacher, batch.labels, temperature)  # (B,), or a scalar
        return weighed(soft, logits, batch.labels, alpha=alpha, label_smoothing=label_smoothing)

    def distil_full(logits: Tensor, batch: Batch) -> LossTerms:
        # Section 6.1: the classes outside the group are learned from soft targets alone.
        soft = loss(logits, targets(batch), batch.labels, temperature)  # (B,)
        hard = F.cross_entropy(logits, batch.labels, reduction="none", label_smoothing=label_smoothing)  # (B,)
        own = task.own_images(batch.labels)  # (B,)
        total = torch.where(own, alpha * soft + (1 - alpha) * hard, soft)
        return LossTerms(total=total.mean(), soft=soft.mean(), hard=(hard * own).sum() / own.sum().clamp(min=1))

    return distil_full if task.kind == TaskKind.FULL else distil


def check_loss(loss: SoftLoss, kind: TaskKind, classes: int = TRIED_CLASSES, *, unlabelled: int = 0) -> None:
    """Refuse a loss of soft targets that does not fit a task; it is tried on a small batch.

    Args:
        loss: the loss.
        kind: what the net tells apart.
        classes: the number of its logits, where that is known.
        unlabelled: number of images without labels that it learns from.

    Raises:
        UserError: it does not fit.
    """
    if unlabelled and loss.needs_labels:
        raise UserError(
            f"{loss.name}: needs the label of each image, and {unlabelled:,} have none; choose kd, mse or dist", field="loss"
        )
    spans_batch = tried(loss, classes, unlabelled=bool(unlabelled)).ndim == 0
    if kind == TaskKind.FULL and spans_batch:
        raise UserError(
            f"{loss.name}: is one number for a batch, and a full softmax weighs its images differently; choose kd, mse or dkd",
            field="loss",
        )
    if kind == TaskKind.DUSTBIN and loss.standardize:
        raise UserError(
            "a dustbin's logit stands for many classes, so that teacher and specialist would be standardised differently; "
            "leave it out, or choose specialists without a dustbin",
            field="standardize",
        )
