"""The parent run's figures: all systems beside one another, and the changes by distillation and specialists."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from kd.distillation.combination import Combination
from kd.distillation.results import Trained
from kd.distillation.teacher import Teacher
from kd.evaluation.intervals import Interval, wilson_interval
from kd.reports import plots
from kd.reports.changes import Change
from kd.specialists.kind import TaskKind


def summary_figures(
    teacher: Teacher,
    distilled: Sequence[Trained],
    combinations: Sequence[Combination],
    changes: Sequence[Change],
) -> dict[str, Figure]:
    """Return the figures of a run that has others below it, by name."""
    figures = {"2_comparison": _comparison(teacher, distilled, combinations)}
    if changes:
        figures["1_changes"] = plots.interval_forest(
            [_difference_label(change) for change in changes],
            [change.difference for change in changes],
            f"What distillation and specialists changed on {teacher.dataset.name}, test",
            over=changes[0].over,
            verdicts=[change.verdict for change in changes],
        )
    return figures


def _difference_label(change: Change) -> str:
    return f"{change.label} - {change.beside}"


def _comparison(teacher: Teacher, distilled: Sequence[Trained], combinations: Sequence[Combination]) -> Figure:
    """Draw the systems that answer on all classes; specialists alone are compared on their own classes elsewhere."""
    labels = teacher.dataset.test.labels
    systems: list[tuple[str, Interval, int]] = [
        ("generalist", _accuracy((teacher.test_logits.argmax(dim=1) == labels).numpy()), teacher.parameters)
    ]
    for pair in distilled:
        for trained in (pair.control, pair.without_unlabelled, pair):
            if trained is not None and trained.task.kind == TaskKind.ALL:
                correct = trained.test_logits.argmax(dim=1) == labels
                systems.append((trained.name, _accuracy(correct.numpy()), trained.parameters))
    for combination in combinations:
        name = "generalist + specialists" + (f" seed {combination.seed}" if len(combinations) > 1 else "")
        systems.append((name, _accuracy(combination.after.numpy()), combination.parameters))
    names, accuracies, parameters = zip(*systems, strict=True)
    return plots.comparison(
        names,
        accuracies,
        parameters,
        f"Systems on {teacher.dataset.name}",
        n=f"n = {len(labels):,} test images",
    )


def _accuracy(correct: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Interval:
    return wilson_interval(int(correct.sum()), len(correct))
