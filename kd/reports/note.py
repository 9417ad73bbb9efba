"""The parent run's note in Markdown: the trained nets, their scores, the changes by distillation and specialists."""

from collections.abc import Sequence

from torch import Tensor

from kd.distillation.combination import Combination
from kd.distillation.results import TrackedRun, Trained
from kd.distillation.task import Task
from kd.distillation.teacher import Teacher
from kd.evaluation.intervals import format_interval, verdict, wilson_interval
from kd.reports.changes import Change

CONTROL_TEXT = (
    "The control is the same net with the same seed, views and recipe on hard targets alone. Accuracy is on the test "
    "images of a model's own classes, among those classes; the teacher's too."
)
COMBINED_TEXT = (
    "The combination answers with the distribution that minimises Eq. 5 of the paper, over the generalist and the "
    "specialists that its first answer calls."
)


def note(  # noqa: PLR0913 - the nets, and the changes
    title: str,
    teacher: Teacher,
    distilled: Sequence[Trained],
    *,
    combinations: Sequence[Combination],
    distillation: Sequence[Change],
    combined: Change | None,
) -> str:
    """Return the summary of a run in Markdown."""
    dataset = teacher.dataset
    sizes = f"{len(dataset.train):,} train, {len(dataset.val):,} val and {len(dataset.test):,} test images"
    parts = [
        f"# {title}",
        f"{sizes} of {dataset.num_classes} classes; digest `{dataset.digest}`.",
        "Everything was chosen on val; test was scored once.",
    ]
    if combined is not None:
        parts += ["## Generalist and specialists together", COMBINED_TEXT, _combined(combined, combinations)]
        parts += [_corrections(combinations), _cover(combinations)]
    if distillation:
        parts += ["## What distillation changed", CONTROL_TEXT, _changes("control", "distilled", distillation)]
    parts += ["## Models", _systems(teacher, distilled, combinations)]
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _changes(before: str, after: str, changes: Sequence[Change]) -> str:
    guided = any(change.teacher is not None for change in changes)
    head = ["model", *(["teacher"] if guided else []), before, after, f"{after} - {before}", "verdict", "McNemar p"]
    rows = [
        [
            change.label,
            *([_percent(change.teacher)] if guided else []),
            _percent(change.before.mean),
            _percent(change.after.mean),
            f"{format_interval(change.difference, '% points')} {change.over}",
            f"**{verdict(change.difference)}**",
            "" if change.p_value is None else f"{change.p_value:.3g}",
        ]
        for change in changes
    ]
    return table(head, rows)


def _combined(change: Change, combinations: Sequence[Combination]) -> str:
    overall = _changes("generalist", "combined", [change])
    head = ["model", "seed", "val accuracy", "conditional test accuracy", "parameters", "ms per image"]
    rows = [
        [
            _link(combination.run, combination.name),
            str(combination.seed),
            _percent(combination.val.combined.accuracy),
            _beside_generalist(
                _percent(combination.test.combined_conditional_accuracy),
                _percent(combination.test.generalist_conditional_accuracy),
            ),
            f"{combination.parameters:,}",
            _beside_generalist(f"{combination.combined_ms:.3f}", f"{combination.generalist_ms:.3f}"),
        ]
        for combination in combinations
    ]
    return f"{overall}\n\n{table(head, rows)}"


def _beside_generalist(combined: str, generalist: str) -> str:
    return f"{combined} (generalist {generalist})"


def _corrections(combinations: Sequence[Combination]) -> str:
    head = ["dustbin correction, on val", "seed", "accuracy", "NLL"]
    rows = [
        [
            correction,
            str(combination.seed),
            _percent(corrected.val.accuracy),
            f"{corrected.val.nll:.4f}",
        ]
        for combination in combinations
        for correction, corrected in combination.corrections.items()
    ]
    return table(head, rows)


def _cover(combinations: Sequence[Combination]) -> str:
    head = ["specialists that cover the true class", "seed", "relative gain in test accuracy"]
    rows = [
        [str(row.cover), str(combination.seed), f"{format_interval(row.gain)} images"]
        for combination in combinations
        for row in combination.table
    ]
    return table(head, rows)


def _systems(teacher: Teacher, distilled: Sequence[Trained], combinations: Sequence[Combination]) -> str:
    rows = [
        [
            f"{_link(teacher.run, 'teacher')} ({teacher.origin})",
            *_scores(teacher.task, teacher.test_logits),
            f"{teacher.parameters:,}",
            "",
        ]
    ]
    for pair in distilled:
        rows += [
            [
                _link(trained.run, trained.name),
                *_scores(trained.task, trained.test_logits),
                f"{trained.parameters:,}",
                f"{trained.seconds:.1f}",
            ]
            for trained in (pair.control, pair)
            if trained is not None
        ]
    rows += [
        [
            _link(combination.run, combination.name),
            format_interval(wilson_interval(int(combination.after.sum()), len(combination.after)), signed=False),
            "",
            f"{combination.parameters:,}",
            "",
        ]
        for combination in combinations
    ]
    return table(["model", "test accuracy (95 % interval)", "among its own classes", "parameters", "seconds"], rows)


def _scores(task: Task, logits: Tensor) -> list[str]:
    labels = task.test.labels
    own = task.own_correct(logits, labels)
    correct = int((logits.argmax(dim=1) == labels).sum())
    return [
        format_interval(wilson_interval(correct, len(labels)), signed=False),
        "" if task.kind == "all" else format_interval(wilson_interval(int(own.sum()), len(own)), signed=False),
    ]


def _link(run: TrackedRun | None, name: str) -> str:
    return name if run is None else run.link


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"
