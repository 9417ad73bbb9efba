"""The changes that distillation and specialists made, as rows of a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from kd.distillation.combination import Combination
from kd.distillation.comparison import Comparison, compare_correct
from kd.distillation.results import Trained
from kd.distillation.teacher import Teacher

COMBINED_LABEL = "combined"
"""The label of a combination's change."""


@dataclass(frozen=True, kw_only=True)
class Change(Comparison):
    """A comparison, with the names of what was compared."""

    label: str
    beside: Literal["control", "generalist"]
    """The system that it is compared with."""
    teacher: float | None = None
    """The teacher's accuracy on the same images, among the same classes."""


def distillation_changes(teacher: Teacher, distilled: Sequence[Trained]) -> list[Change]:
    """Return the change by distillation on a net's own classes, for each net that has a control."""
    by_label: dict[str, list[tuple[Tensor, Tensor]]] = {}
    guides = {}
    for trained in distilled:
        if trained.control is None:
            continue
        task = trained.task
        labels = task.test.labels
        control, soft = (task.own_correct(one.test_logits, labels) for one in (trained.control, trained))
        by_label.setdefault(trained.label, []).append((control, soft))
        guide = task.own_correct(task.of_teacher(teacher.test_on(task), 1.0), labels)
        guides[trained.label] = guide.double().mean().item()
    return [_change(label, seeds, "control", guides[label]) for label, seeds in by_label.items()]


def combination_change(combinations: Sequence[Combination]) -> Change:
    """Return the change by the specialists in the generalist's accuracy on all classes."""
    return _change(
        COMBINED_LABEL, [(combination.before, combination.after) for combination in combinations], "generalist", None
    )


def verdict_line(change: Change) -> str:
    """Return a change in one line: the difference with its interval, the verdict, and what was compared."""
    before, after = (f"{100 * share:.1f} %" for share in (change.before.mean, change.after.mean))
    return f"{change.label}: {change} ({after} against {before} of the {change.beside})"


def _change(
    label: str, seeds: Sequence[tuple[Tensor, Tensor]], beside: Literal["control", "generalist"], teacher: float | None
) -> Change:
    compared = compare_correct(seeds)
    return Change(
        before=compared.before,
        after=compared.after,
        difference=compared.difference,
        p_value=compared.p_value,
        label=label,
        beside=beside,
        teacher=teacher,
    )
