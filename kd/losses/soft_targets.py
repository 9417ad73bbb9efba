"""The distillation loss of Hinton, Vinyals and Dean (2015), section 2."""

from torch import Tensor
from torch.nn import functional as F

from kd.losses.terms import LossTerms


def soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return ``T^2 KL(teacher_T || student_T)`` for each image.

    The factor T^2 keeps the size of the gradients when T changes (paper, section 2).

    Args:
        student: logits, (B, C).
        teacher: logits, (B, C).
        temperature: T > 0.

    Returns:
        (B,), in nats.
    """
    student_log = F.log_softmax(student / temperature, dim=1)  # (B, C)
    teacher_log = F.log_softmax(teacher / temperature, dim=1)  # (B, C)
    return temperature**2 * F.kl_div(student_log, teacher_log, reduction="none", log_target=True).sum(dim=1)


def distillation_loss(  # noqa: PLR0913 - both terms of the loss
    student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float, alpha: float, label_smoothing: float = 0.0
) -> LossTerms:
    """Return ``alpha T^2 KL(teacher_T || student_T) + (1 - alpha) CE(hard)``, averaged over the batch (section 2).

    Args:
        student: logits, (B, C).
        teacher: logits, (B, C), without gradient.
        labels: (B,) int64; -100, torch's own, stands for none.
        temperature: T > 0.
        alpha: weight of the soft term, in [0, 1].
        label_smoothing: share of each hard target spread evenly over the classes.
    """
    soft = soft_loss(student, teacher, temperature)
    return weighed(soft, student, labels, alpha=alpha, label_smoothing=label_smoothing)


def weighed(soft: Tensor, student: Tensor, labels: Tensor, *, alpha: float, label_smoothing: float = 0.0) -> LossTerms:
    """Return ``alpha soft + (1 - alpha) CE(hard)``, averaged over the batch.

    An image without a label has no hard term: what it adds to the sum over the batch is the soft term with its weight.

    Args:
        soft: the loss of soft targets of each image, (B,), or of the batch, a scalar.
        student: logits, (B, C).
        labels: (B,) int64; -100, torch's own, stands for none.
        alpha: weight of the soft term, in [0, 1].
        label_smoothing: share of each hard target spread evenly over the classes.
    """
    hard = F.cross_entropy(student, labels, label_smoothing=label_smoothing, reduction="sum") / len(labels)
    return LossTerms(total=alpha * soft.mean() + (1 - alpha) * hard, soft=soft.mean(), hard=hard)
