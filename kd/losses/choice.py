"""The loss of soft targets, chosen by name with its own weights, or given as a function."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from kd.errors import UserError, reason
from kd.losses.correlation import correlation_loss
from kd.losses.decoupled import decoupled_loss
from kd.losses.logit_matching import logit_matching_loss
from kd.losses.names import LOSS_NAMES, LOSS_WEIGHTS, STANDARDIZABLE
from kd.losses.soft_targets import soft_loss
from kd.losses.standardized import standardized
from kd.machine.failure import is_out_of_memory
from kd.machine.user_code import user_function

TRIED_IMAGES, TRIED_CLASSES = 4, 3
"""The batch of logits that a loss is tried on, where the number of classes is not known yet."""
NO_LABEL = -100
"""Stands for the label of an image that has none: torch's own."""


@dataclass(frozen=True)
class SoftLoss:
    """A loss that compares a student's logits with a teacher's; alpha weighs it against the hard targets."""

    name: str = "kd"
    """kd, mse, dkd or dist; of a function of one's own its name."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """The loss's own weights; those that are not given have the paper's values."""
    standardize: bool = False
    """Whether logits are standardised first (Sun et al. 2024)."""
    function: Callable[..., Tensor] | None = None
    """The user's own: maps student (B, C), teacher (B, C) and labels (B,) to (B,), or to a scalar where it spans the batch."""
    origin: str = ""
    """A text that differs between versions of the file of that function."""

    def __post_init__(self) -> None:
        if self.function is None and self.name not in LOSS_NAMES:
            raise UserError(
                f"{self.name}: no such loss; choose one of {', '.join(LOSS_NAMES)}, or give a function", field="loss"
            )
        own = LOSS_WEIGHTS.get(self.name, {})
        for name in self.weights:
            if name not in own:
                raise UserError(f"{name}: {self.name} has no such weight; it has {', '.join(own) or 'none'}", field="loss")
        if self.standardize and (self.function is not None or self.name not in STANDARDIZABLE):
            raise UserError(f"{self.name}: standardised logits fit {' and '.join(STANDARDIZABLE)} alone", field="standardize")

    @property
    def needs_labels(self) -> bool:
        """Return whether each image has to have a label."""
        return self.name == "dkd"

    def temperature(self, asked: float) -> float:
        """Return the temperature at which it compares: logits themselves are matched at 1."""
        return 1.0 if self.name == "mse" else asked

    def facts(self) -> dict[str, object]:
        """Return all that tells it from other losses, for fingerprints and params."""
        weights = {**LOSS_WEIGHTS.get(self.name, {}), **self.weights}
        return {"name": self.name, "weights": weights, "standardize": self.standardize, "origin": self.origin}

    def __call__(self, student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Return the loss of each image, (B,), or of the batch, a scalar.

        Args:
            student: logits, (B, C).
            teacher: logits, (B, C), without gradient.
            labels: (B,) int64; -100 stands for none.
            temperature: T > 0.

        Raises:
            UserError: a function of the user's own fails on them.
        """
        if self.function is not None:
            return self._answer(self.function, student, teacher, labels, temperature)
        if self.standardize:
            student, teacher = standardized(student), standardized(teacher)
        return _LOSSES[self.name](student, teacher, labels, temperature, **self.weights)

    def _answer(
        self, function: Callable[..., Tensor], student: Tensor, teacher: Tensor, labels: Tensor, temperature: float
    ) -> Tensor:
        try:
            asked = {"temperature": temperature} if "temperature" in inspect.signature(function).parameters else {}
            return function(student, teacher, labels, **asked)
        except Exception as error:  # the code of others raises anything
            if is_out_of_memory(error):
                raise
            images, classes = student.shape
            none = int((labels == NO_LABEL).sum())
            told = f"{images} images{f', {none} of them without a label ({NO_LABEL}),' if none else ''} and {classes} classes"
            raise UserError(
                f"{self.name}: fails on logits of {told} ({reason(error)}); mend it: it is called with student logits, teacher "
                "logits and labels, and with temperature= where it takes that",
                field="loss",
            ) from error


_LOSSES: Mapping[str, Callable[..., Tensor]] = {
    "kd": lambda student, teacher, _, temperature: soft_loss(student, teacher, temperature),
    "mse": lambda student, teacher, *_: logit_matching_loss(student, teacher),
    "dkd": decoupled_loss,
    "dist": lambda student, teacher, _, temperature, **weights: correlation_loss(student, teacher, temperature, **weights),
}

Loss = str | SoftLoss | Callable[..., Tensor]
"""A name, a name's loss with weights, or a function of (student logits, teacher logits, labels)."""


def loss_of(loss: Loss) -> SoftLoss:
    """Return a loss of any form; a function is not called yet: see :func:`tried`.

    Args:
        loss: ``kd``, ``mse``, ``dkd`` or ``dist``; ``package.module:function`` or ``path/to/file.py:function``; a
            :class:`SoftLoss`; or a function.

    Raises:
        UserError: there is no such loss or function.
    """
    if isinstance(loss, SoftLoss):
        return loss
    if isinstance(loss, str) and ":" not in loss:
        return SoftLoss(loss)
    if isinstance(loss, str):
        function, origin = user_function(loss, "loss")
        return SoftLoss(loss, function=function, origin=origin)
    return SoftLoss(getattr(loss, "__qualname__", type(loss).__name__), function=loss, origin=_source(loss))


def tried(loss: SoftLoss, classes: int = TRIED_CLASSES, *, unlabelled: bool = False) -> Tensor:
    """Return what a loss gives for a small batch: (B,), or a scalar where it spans the batch.

    Args:
        loss: the loss.
        classes: the number of logits, 2 or more.
        unlabelled: whether an image of the batch has no label.

    Raises:
        UserError: it raises an error, gives other than (B,) or a scalar, gives what is not finite, or has no gradient.
    """
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(TRIED_IMAGES, classes, generator=generator, requires_grad=True)
    teacher = torch.randn(TRIED_IMAGES, classes, generator=generator)
    labels = torch.arange(TRIED_IMAGES) % classes
    labels[0] = NO_LABEL if unlabelled else labels[0]
    with torch.enable_grad():
        value: Any = loss(student, teacher, labels, 2.0)
    where = f" where an image has no label ({NO_LABEL})" if unlabelled else ""
    if not isinstance(value, Tensor) or value.shape not in {(TRIED_IMAGES,), ()}:
        raise UserError(
            f"{loss.name}: gives {_told(value)} for logits of {TRIED_IMAGES} images{where}; return a loss for each image, "
            f"({TRIED_IMAGES},), or one for the batch",
            field="loss",
        )
    if not bool(value.isfinite().all()):
        raise UserError(
            f"{loss.name}: gives {value[~value.isfinite()][0]:g}{where}; return a loss that is finite", field="loss"
        )
    if not value.requires_grad:
        raise UserError(f"{loss.name}: does not depend on the student's logits; return a loss that does", field="loss")
    return value


def _told(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{type(value).__name__}"


def _source(function: Callable[..., Tensor]) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # typed into a console
        return repr(function)
