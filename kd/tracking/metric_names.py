"""The names that metrics had in earlier versions: the one table by which runs of before are read."""

from collections.abc import Mapping
from typing import Final

FORMER: Final[Mapping[str, tuple[str, ...]]] = {
    "train/loss": ("train_loss",),
    "train/soft_loss": ("train_soft_loss",),
    "train/hard_loss": ("train_hard_loss",),
    "train/accuracy": ("train_accuracy",),
    "train/learning_rate": ("learning_rate",),
    "train/seconds": ("seconds",),
    "train/images_per_second": ("images_per_second",),
    "val/accuracy": ("val_accuracy", "val_combined_accuracy"),
    "val/nll": ("val_nll", "val_loss"),
    "val/chosen_accuracy": ("chosen_val_accuracy", "val_result"),
    "val/chosen_nll": ("chosen_val_nll",),
    "val/chosen_epoch": ("chosen_epoch",),
    "test/accuracy": ("test_accuracy", "test_combined_accuracy"),
    "test/nll": ("test_nll", "test_combined_nll"),
    "test/own_accuracy": ("test_own_accuracy",),
    "test/generalist_accuracy": ("test_generalist_accuracy",),
    "test/teacher_agreement": ("test_teacher_agreement",),
    "cost/parameters": ("parameters",),
    "cost/multiply_adds": ("multiply_adds",),
    "cost/train_seconds": ("train_seconds",),
    "cost/ms_per_image": ("combined_ms_per_image",),
    "cost/generalist_ms_per_image": ("generalist_ms_per_image",),
    "student/minus_control": ("student_minus_control",),
}
"""Former names of a metric by its present one, the latest first."""


def names_of(name: str) -> tuple[str, ...]:
    """Return the names under which a metric stands in runs, the present one first."""
    return (name, *FORMER.get(name, ()))


def metric_of(metrics: Mapping[str, float], name: str) -> float | None:
    """Return a metric of a run, by its present name or by a former one; None: it has none of them."""
    return next((metrics[known] for known in names_of(name) if known in metrics), None)
