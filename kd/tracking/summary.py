"""The ending of a run that has others below it: its note, metrics and figures."""

from collections.abc import Sequence
from statistics import fmean

from kd.distillation.combination import Combination
from kd.distillation.results import Trained
from kd.distillation.teacher import Teacher
from kd.reports.changes import Change, combination_change, distillation_changes
from kd.reports.note import note
from kd.specialists.kind import TaskKind
from kd.tracking.metrics import change_metrics
from kd.tracking.store import Run


def summarise(
    parent: Run, title: str, teacher: Teacher, distilled: Sequence[Trained], combinations: Sequence[Combination] = ()
) -> list[Change]:
    """Write the note, metrics and figures of a run in which nets were distilled and combined.

    Args:
        parent: the run.
        title: title of the note.
        teacher: the teacher of all nets.
        distilled: students and specialists of all seeds, with their controls.
        combinations: one per seed; none where there are no specialists.

    Returns:
        What specialists and distillation changed, the run's own answer first.
    """
    from kd.reports.summary_figures import summary_figures  # noqa: PLC0415 - matplotlib is a slow import

    changes = distillation_changes(teacher, distilled)
    combined = combination_change(combinations) if combinations else None
    parent.log_note(note(title, teacher, distilled, combinations=combinations, distillation=changes, combined=combined))
    changes += [combined] if combined is not None else []
    parent.log_metrics({**_test_accuracies(teacher, distilled, combinations), **change_metrics(changes)})
    for name, figure in summary_figures(teacher, distilled, combinations, changes).items():
        parent.log_figure(figure, name)
    # A command's run stands for the model that it was run for: --teacher RUN_ID loads it.
    [answer] = combinations[:1] or distilled[:1]
    parent.log_tags({"kd.model_run": answer.run_id})
    return [*changes[-1:], *changes[:-1]] if combined is not None else changes


def _test_accuracies(teacher: Teacher, distilled: Sequence[Trained], combinations: Sequence[Combination]) -> dict[str, float]:
    """Return the accuracy of the teacher and, as that of every run, the one of what the run was made for: a mean over seeds."""
    right = teacher.test_logits.argmax(dim=1) == teacher.dataset.test.labels
    answers = [combination.test.combined.accuracy for combination in combinations]
    answers = answers or [trained.test.accuracy for trained in distilled if trained.task.kind == TaskKind.ALL]
    own = {"test/accuracy": fmean(answers)} if answers else {}
    return {**own, "test/generalist_accuracy": right.double().mean().item()}
