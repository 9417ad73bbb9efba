"""The changes that distillation and specialists made, as rows of a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from kd.distillation.combination import Combination
from kd.distillation.results import Trained
from kd.distillation.teacher import Teacher
from kd.evaluation.comparisons import Comparison, compare_correct, corrected
from kd.evaluation.intervals import wilson_interval

Beside = Literal["control", "generalist", "without unlabelled"]
COMBINED_LABEL = "combined"
"""The label of a combination's change."""


@dataclass(frozen=True, kw_only=True)
class Change(Comparison):
    """A comparison, with the names of what was compared."""

    label: str
    beside: Beside
    """The system that it is compared with."""
    teacher: float | None = None
    """The teacher's accuracy on the same images, among the same classes."""
    classes: int
    """Among how many classes the accuracies are."""
    images: int
    """Over how many images they are."""

    def is_like_chance(self, accuracy: float) -> bool:
        """Return whether an accuracy over these images can't be told from that of answers by chance."""
        return is_like_chance(accuracy, self.images, self.classes)


def is_like_chance(accuracy: float, images: int, classes: int) -> bool:
    """Return whether an accuracy over so many images can't be told from that of answers by chance: one of so many classes."""
    return wilson_interval(round(accuracy * images), images).low <= 1 / classes


def distillation_changes(teacher: Teacher, distilled: Sequence[Trained]) -> list[Change]:
    """Return the change by distillation on a net's own classes, for each net that has a control.

    Behind that of a student stands what images without labels changed, where there are some. Where several nets have a control,
    their verdicts are given by all of these comparisons together, as are those on images without labels.
    """
    seeds: dict[tuple[str, Beside], list[tuple[Tensor, Tensor]]] = {}
    guides, classes = {}, {}
    others: tuple[Beside, Beside] = ("control", "without unlabelled")
    for trained in distilled:
        task, labels = trained.task, trained.task.test.labels
        for beside, other in zip(others, (trained.control, trained.without_unlabelled), strict=True):
            if other is not None:
                before, after = (task.own_correct(one.test_logits, labels) for one in (other, trained))
                seeds.setdefault((trained.label, beside), []).append((before, after))
        guide = task.own_correct(task.of_teacher(teacher.test_on(task), 1.0), labels)
        classes[trained.label] = len(task.group)
        guides[trained.label] = guide.double().mean().item()
    found = [_change(label, pairs, beside, guides[label], classes[label]) for (label, beside), pairs in seeds.items()]
    tables = {other: iter(_judged([one for one in found if one.beside == other])) for other in others}
    return [next(tables[one.beside]) for one in found]


def combination_change(combinations: Sequence[Combination]) -> Change:
    """Return the change by the specialists in the generalist's accuracy on all classes."""
    pairs = [(combination.before, combination.after) for combination in combinations]
    return _change(COMBINED_LABEL, pairs, "generalist", None, combinations[0].dataset.num_classes)


def verdict_line(change: Change) -> str:
    """Return a change in one line: the difference with its interval, the verdict, and what was compared."""
    before, after = (f"{100 * share:.1f} %" for share in (change.before.mean, change.after.mean))
    if change.beside == "without unlabelled":
        return f"{change.label}, by images without labels: {change} ({after} against {before} without them)"
    return f"{change.label}: {change} ({after} against {before} of the {change.beside})"


def _judged(table: Sequence[Change]) -> Sequence[Change]:
    """Return the changes of one table with verdicts that count all of them; one alone has its own."""
    return corrected(table) if len(table) > 1 else table


def _change(
    label: str,
    seeds: Sequence[tuple[Tensor, Tensor]],
    beside: Beside,
    teacher: float | None,
    classes: int,
) -> Change:
    compared = compare_correct(seeds)
    return Change(
        before=compared.before,
        after=compared.after,
        difference=compared.difference,
        p_value=compared.p_value,
        over=compared.over,
        label=label,
        beside=beside,
        teacher=teacher,
        classes=classes,
        images=len(seeds[0][0]),
    )
