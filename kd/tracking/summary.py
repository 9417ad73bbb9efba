"""The ending of a run that has others below it: its note, metrics and figures."""

from collections.abc import Sequence
from statistics import fmean

from kd.distillation.combination import Combination
from kd.distillation.results import Trained
from kd.distillation.teacher import Teacher
from kd.machine.activity import doing
from kd.reports.changes import COMBINED_LABEL, Change, combination_change, distillation_changes
from kd.reports.note import note
from kd.specialists.kind import TaskKind
from kd.tracking.metrics import change_metrics
from kd.tracking.report import log_report
from kd.tracking.store import Run, tag_run
from kd.tracking.views import views_of


@doing("writing the summary and its figures")
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
    roles = (*(trained.role for trained in distilled), *(["combined"] if combinations else []))
    links = parent.view_links(views_of(*roles))
    parent.log_note(
        note(
            title,
            links,
            teacher,
            distilled,
            combinations=combinations,
            distillation=changes,
            combined=combined,
            history=parent.history,
        )
    )
    changes += [combined] if combined is not None else []
    parent.log_metrics({**_test_accuracies(teacher, distilled, combinations), **change_metrics(changes)})
    for name, figure in summary_figures(teacher, distilled, combinations, changes).items():
        parent.log_figure(figure, name)
    # A command's run stands for the model that it was run for: --teacher RUN_ID loads it.
    [answer] = combinations[:1] or distilled[:1]
    parent.log_tags({"kd.model_run": answer.run_id})
    changes = [*changes[-1:], *changes[:-1]] if combined is not None else changes
    _tag_verdicts(parent, changes, [*distilled, *combinations])
    log_report(parent)
    return changes


def _tag_verdicts(parent: Run, changes: Sequence[Change], systems: Sequence[Trained | Combination]) -> None:
    """Tag each run with what was found of its system over all seeds, and the parent with its own answer: the list shows it."""
    found: dict[str, dict[str, str]] = {}
    for change in changes:  # of two with the same label the first is that by distillation
        found.setdefault(change.label, {"kd.verdict": f"{change.verdict}, {change.difference_text}"})
    for system in systems:
        label = system.label if isinstance(system, Trained) else COMBINED_LABEL
        if system.run is not None and label in found:
            tag_run(system.run.id, found[label])
    if changes:
        parent.log_tags(found[changes[0].label])


def _test_accuracies(teacher: Teacher, distilled: Sequence[Trained], combinations: Sequence[Combination]) -> dict[str, float]:
    """Return the accuracy of the teacher and, as that of every run, the one of what the run was made for: a mean over seeds."""
    right = teacher.test_logits.argmax(dim=1) == teacher.dataset.test.labels
    answers = [combination.test.combined.accuracy for combination in combinations]
    answers = answers or [trained.test.accuracy for trained in distilled if trained.task.kind == TaskKind.ALL]
    own = {"test/accuracy": fmean(answers)} if answers else {}
    return {**own, "test/generalist_accuracy": right.double().mean().item()}
