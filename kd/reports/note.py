"""The parent run's note in Markdown: the trained nets, their scores, the changes by distillation and specialists."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from kd.distillation.combination import Combination
from kd.distillation.results import TrackedRun, Trained
from kd.distillation.task import Task
from kd.distillation.teacher import Teacher
from kd.evaluation.intervals import format_interval, wilson_interval
from kd.evaluation.latency import BATCHES
from kd.evaluation.scores import balanced_accuracy
from kd.reports.changes import Change, verdict_line
from kd.reports.cost import file_bytes, size_text
from kd.reports.model_page import place
from kd.specialists.kind import TaskKind

CONTROL_TEXT = (
    "The control is the same net with the same seed, views and recipe on hard targets alone. Accuracy is on the test "
    "images of a model's own classes, among those classes; the generalist's too. p is McNemar's for one seed, that of "
    "Student's paired test for several; p and verdict of several rows count all of them (Holm)."
)
WITHOUT_TEXT = (
    "Both are distilled from the same teacher, with the same seed and in as many steps; one learns from labelled images alone."
)
COMBINED_TEXT = (
    "The combination answers with the distribution that minimises Eq. 5 of the paper, over the generalist and the "
    "specialists that its first answer calls."
)

MODELS_TEXT = (
    "Accuracy on test with its 95 % interval: over all classes ({:,} images), and among a specialist's own classes (n images). "
    "Latency is the median of many passes (on {}), seconds are those of the training."
)
SEEDS_TEXT = (
    "With each seed: accuracy on val, accuracy on the test images whose true class some specialist covers, beside the "
    "generalist's, and milliseconds per batch of {}:"
)


BALANCED_TEXT = "In balanced accuracy each class counts the same, however many images it has."
NOTICEABLE = 0.01
"""Difference between accuracy and balanced accuracy from which both are shown."""
SIDE_BY_SIDE = "Side by side:"
"""Beginning of the paragraph with links to pages of the UI."""


GAP = "&emsp;"
"""What keeps the columns of a table apart where the UI shows it: it has no space between cells."""
MODELS_HEAD = "## Models"
REST_TEXT = "The rest of this summary is in `note/note.md`, among the artifacts."
TABLE_HEAD_LINES = 2


def note(  # noqa: PLR0913 - the nets, and the changes
    title: str,
    views: str,
    teacher: Teacher,
    distilled: Sequence[Trained],
    *,
    combinations: Sequence[Combination],
    distillation: Sequence[Change],
    combined: Change | None,
    history: Sequence[str] = (),
) -> str:
    """Return the summary of a run in Markdown; of its first lines, the UI shows three until it is unfolded.

    Args:
        title: what was run on which data.
        views: links to the lists in which the UI shows the same runs side by side.
        teacher: the teacher of all nets.
        distilled: students and specialists of all seeds, with their controls.
        combinations: one per seed; none where there are no specialists.
        distillation: what distillation changed.
        combined: what the specialists changed; None: there are none.
        history: what was resumed, and what was reused from other runs, a line each.
    """
    dataset = teacher.dataset
    sizes = f"{len(dataset.train):,} train, {len(dataset.val):,} val and {len(dataset.test):,} test images"
    changes = [*([combined] if combined is not None else []), *distillation]
    by_control, by_unlabelled = (
        [change for change in distillation if change.beside == beside] for beside in ("control", "without unlabelled")
    )
    parts = [
        *(f"**{verdict_line(change)}**" for change in changes[:1]),
        _answer(distilled, combinations),
        f"{SIDE_BY_SIDE} {views}.",
        f"{title}: {sizes} of {dataset.num_classes} classes; digest `{dataset.digest}`.",
        *_unlabelled(distilled),
        "Everything was chosen on val; test was scored once.",
        *history_text(history),
    ]
    if combined is not None:
        parts += ["## Generalist and specialists together", COMBINED_TEXT, _combined(combined, combinations)]
        parts += [_corrections(combinations), _cover(combinations)]
    if by_control:
        parts += ["## What distillation changed", CONTROL_TEXT, _changes("control", "distilled", by_control)]
    if by_unlabelled:
        parts += ["## What images without labels changed", WITHOUT_TEXT, _changes("without them", "with them", by_unlabelled)]
    parts += [MODELS_HEAD, *_systems(teacher, distilled, combinations)]
    return "\n\n".join(parts)


def _unlabelled(distilled: Sequence[Trained]) -> list[str]:
    """Return how many images without labels students learned from; nothing where there are none."""
    found = {trained.dataset.unlabelled_digest: trained.task.unlabelled for trained in distilled if trained.task.unlabelled}
    return [
        f"Students learned from {count:,} images without labels too, by soft targets alone; digest `{digest}`."
        for digest, count in found.items()
    ]


def history_text(history: Sequence[str]) -> list[str]:
    """Return paragraphs that tell what was resumed and what was reused, a line each; none where nothing was."""
    return ["Resumed and reused:", "\n".join(f"- {line}" for line in history)] if history else []


def shortened(markdown: str, limit: int) -> str:
    """Return a note of at most ``limit`` characters: whole paragraphs and whole rows of tables, and a word about the rest."""
    if len(markdown) <= limit:
        return markdown
    left = limit - len(REST_TEXT)
    parts: list[str] = []
    for part in markdown.split("\n\n"):
        rows = _rows_that_fit(part, left)
        if rows:
            parts.append(rows)
            left -= len(rows) + 2
        if rows != part:
            break
    return "\n\n".join([*parts, REST_TEXT])


def spaced(markdown: str) -> str:
    """Return Markdown with gaps between the columns of its tables."""
    return "\n".join(
        line.replace(" | ", f"{GAP} | ") if line.startswith("| ") and not line.startswith("| ---") else line
        for line in markdown.split("\n")
    )


def _rows_that_fit(part: str, left: int) -> str:
    """Return a paragraph, or as many rows of a table as fit, its head and one row or more; empty where nothing fits."""
    if len(part) + 2 <= left:
        return part
    rows = part.split("\n")
    while len("\n".join(rows)) + 2 > left:
        rows.pop()
        if len(rows) <= TABLE_HEAD_LINES:
            return ""
    return "\n".join(rows) if part.startswith("|") else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; a ``|`` in a cell, of a name say, divides none."""
    lines = [head, ["---"] * len(head), *rows]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def _changes(before: str, after: str, changes: Sequence[Change]) -> str:
    guided = any(change.teacher is not None for change in changes)
    head = ["model", *(["generalist"] if guided else []), before, after, f"{after} - {before}", "verdict", "p"]
    rows = [
        [
            change.label,
            *([_percent(change.teacher)] if guided else []),
            _percent(change.before.mean),
            _percent(change.after.mean),
            f"{format_interval(change.difference, '% points')} {change.over}",
            f"**{change.verdict}**",
            change.p_text,
        ]
        for change in changes
    ]
    return table(head, rows)


def _combined(change: Change, combinations: Sequence[Combination]) -> str:
    overall = _changes("generalist", "combined", [change])
    head = ["model", "seed", "val", "test, covered", "generalist", "parameters", "ms", "generalist's ms"]
    rows = [
        [
            _link(combination.run, combination.name),
            str(combination.seed),
            _percent(combination.val.combined.accuracy),
            _percent(combination.test.combined_conditional_accuracy),
            _percent(combination.test.generalist_conditional_accuracy),
            f"{combination.parameters:,}",
            f"{combination.latencies[-1].median_ms:.3g}",
            f"{combination.generalist_latencies[-1].median_ms:.3g}",
        ]
        for combination in combinations
    ]
    text = SEEDS_TEXT.format(BATCHES[-1])
    return f"{overall}\n\n{text}\n\n{table(head, rows)}"


def _corrections(combinations: Sequence[Combination]) -> str:
    head = ["correction", "seed", "accuracy", "NLL"]
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
    return f"On val, with each correction of the dustbin:\n\n{table(head, rows)}"


def _cover(combinations: Sequence[Combination]) -> str:
    head = ["specialists", "seed", "gain"]
    rows = [
        [str(row.cover), str(combination.seed), f"{format_interval(row.gain)} images"]
        for combination in combinations
        for row in combination.table
    ]
    text = "Relative gain in accuracy on test, by the number of specialists that have the true class among theirs:"
    return f"{text}\n\n{table(head, rows)}"


def _answer(distilled: Sequence[Trained], combinations: Sequence[Combination]) -> str:
    """Return where the model lies that the run was made for."""
    [answer] = combinations[:1] or distilled[:1]
    run = answer.run
    where = ""
    if run is not None and run.model_file is not None:
        where = f", in the file `{place(run.model_file)}`"
    elif run is not None and run.weights_file is not None:
        where = f": not exported, so it can't be served, or be a teacher by its run; its weights: `{place(run.weights_file)}`"
    return f"The model of this run: {_link(run, answer.name)}{where}."


def _systems(teacher: Teacher, distilled: Sequence[Trained], combinations: Sequence[Combination]) -> list[str]:
    """Return a text and a table of all nets and combinations.

    What stands in one column can be compared, row by row of the same classes. Balanced accuracies are shown where one of them
    differs from its accuracy: where classes have about as many images, they do not.
    """
    labels = teacher.dataset.test.labels
    nets = [net for pair in distilled for net in (pair.control, pair.without_unlabelled, pair) if net is not None]
    balanced = [
        _balanced(teacher.test_logits.argmax(dim=1), labels),
        *(_balanced(net.test_logits.argmax(dim=1), labels) if _knows_all(net.task) else None for net in nets),
        *(_balanced(combination.test_probabilities.argmax(dim=1), labels) for combination in combinations),
    ]
    rows = [
        [
            f"{_link(teacher.run, 'generalist')} ({teacher.origin})",
            *_scores(teacher.task, teacher.test_logits),
            f"{teacher.parameters:,}",
            "" if teacher.trained is None else f"{teacher.trained.multiply_adds:,}",
            *_cost(teacher),
            "",
        ],
        *(
            [
                _link(n.run, n.name),
                *_scores(n.task, n.test_logits),
                f"{n.parameters:,}",
                f"{n.multiply_adds:,}",
                *_cost(n),
                f"{n.seconds:.1f}",
            ]
            for n in nets
        ),
        *([_link(c.run, c.name), _share(c.after), "", "", f"{c.parameters:,}", "", *_cost(c), ""] for c in combinations),
    ]
    times = [f"ms, batch {batch}" for batch in BATCHES]
    head = ["model", "all classes", "own classes", "n", "parameters", "multiply-adds", "file", *times, "seconds"]
    text = MODELS_TEXT.format(len(labels), teacher.latencies[0].place)
    if not any(one is not None and one.differs for one in balanced):
        return [text, table(head, rows)]
    head.insert(2, "balanced")
    for row, one in zip(rows, balanced, strict=True):
        row.insert(2, "" if one is None else f"{100 * one.share:.1f} %")
    return [f"{text} {BALANCED_TEXT}", table(head, rows)]


@dataclass(frozen=True)
class _Balanced:
    """A balanced accuracy, and whether it differs from accuracy by more than a reader would pass over."""

    share: float
    differs: bool


def _cost(system: Teacher | Trained | Combination) -> list[str]:
    """Return the size of a system's file, and its latency by the size of the batch."""
    size = file_bytes(system.run)
    return ["" if size is None else size_text(size), *(f"{one.median_ms:.3g}" for one in system.latencies)]


def _balanced(answers: Tensor, labels: Tensor) -> _Balanced:
    correct = answers == labels
    share = balanced_accuracy(correct, labels)
    return _Balanced(share, abs(share - correct.double().mean().item()) >= NOTICEABLE)


def _knows_all(task: Task) -> bool:
    return task.kind in {TaskKind.ALL, TaskKind.FULL}


def _scores(task: Task, logits: Tensor) -> list[str]:
    """Return the accuracy over all classes of a net that tells them apart, and the one among its own classes, with their n."""
    labels = task.test.labels
    own = task.own_correct(logits, labels)
    return [
        _share(logits.argmax(dim=1) == labels) if _knows_all(task) else "",
        "" if task.kind == TaskKind.ALL else _share(own),
        "" if task.kind == TaskKind.ALL else f"{len(own):,}",
    ]


def _share(correct: Tensor) -> str:
    """Return the share of images that are right, with its 95 % interval."""
    interval = wilson_interval(int(correct.sum()), len(correct))
    return f"{100 * interval.mean:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _link(run: TrackedRun | None, name: str) -> str:
    return name if run is None else run.link


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"
