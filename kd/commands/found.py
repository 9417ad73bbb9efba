"""The answers of the commands that train and combine: verdicts, accuracies, and the files of the models."""

from collections.abc import Sequence
from typing import Any

from kd.commands.advice import combination_advice, distillation_advice, training_advice
from kd.commands.answer import COLOURS, Answer, bounds_record, no_change, place_lines, place_record
from kd.config import StudentConfig
from kd.distillation.combination import Combination
from kd.distillation.results import Trained
from kd.evaluation.intervals import Interval, format_interval, wilson_interval
from kd.reports.changes import Change, verdict_line
from kd.reports.cost import cost_text, file_bytes, latency_record
from kd.reports.note import NOTICEABLE
from kd.specialists.kind import TaskKind
from kd.tracking.store import Run
from kd.tracking.views import ALL_SYSTEMS

MAX_VERDICTS = 4


def comparison_answer(
    parent: Run,
    changes: Sequence[Change],
    distilled: Sequence[Trained],
    combinations: Sequence[Combination],
    config: StudentConfig | None,
) -> Answer:
    """Return what a command that distilled or combined found.

    Args:
        parent: the command's run.
        changes: what specialists and distillation changed, the command's own answer first.
        distilled: students and specialists of all seeds.
        combinations: one per seed.
        config: the settings of the distillation; None where nothing was distilled.
    """
    every = [net for trained in distilled for net in (trained.control, trained.without_unlabelled, trained)]
    nets = [net for net in every if net is not None]
    results: list[Trained | Combination] = [*nets, *combinations]
    files = {one.name: one.run.model_file for one in results if one.run and one.run.model_file}
    own: Trained | Combination = (combinations or distilled)[0]
    told = [(verdict_line(change), COLOURS.get(change.verdict, "")) for change in changes[:MAX_VERDICTS]]
    if len(changes) > MAX_VERDICTS:
        told.append((f"... and {len(changes) - MAX_VERDICTS} more in the run's note", ""))
    if not changes and isinstance(own, Trained):
        told = [(_accuracy_line(own), "")]
    hint = "" if config is None else distillation_advice(changes, config)
    hint = hint or combination_advice(changes, combinations)
    model = files.get(own.name)
    told += [*balanced_lines(own), *weights_line(own), *cost_lines(own)]
    record = {
        **(change_record(changes[0]) if changes else no_change()),
        **place_record(parent),
        "model": None if model is None else str(model),
        "models": {name: str(path) for name, path in files.items()},
        "report": str(parent.report_file),
        "changes": [change_record(change) for change in changes],
        **cost_record(own),
        "next": hint or None,
    }
    return Answer(
        [
            *told,
            *place_lines(parent, model, f"all systems: {parent.view_address(ALL_SYSTEMS)}", parent.report_file),
            *([(f"next: {hint}", "")] if hint else []),
        ],
        record,
    )


def training_answer(trained: Trained) -> Answer:
    """Return what a command that trained one net on hard targets found: there is nothing that it was compared with."""
    run = trained.run
    accuracy, hint = _accuracy(trained), training_advice(trained)
    record = {
        **no_change(),
        "accuracy": accuracy.mean,
        "interval": [accuracy.low, accuracy.high],
        "n": accuracy.n,
        "over": "images",
        **(place_record(run) if run else {}),
        "model": str(run.model_file) if run and run.model_file else None,
        **cost_record(trained),
        "next": hint or None,
    }
    places = place_lines(run, run.model_file, f"all systems: {run.view}") if run else []
    following = [(f"next: {hint}", "")] if hint else []
    told = [(_accuracy_line(trained), ""), *balanced_lines(trained), *weights_line(trained), *cost_lines(trained)]
    return Answer([*told, *places, *following], record)


def balanced_lines(system: Trained | Combination) -> list[tuple[str, str]]:
    """Return the balanced accuracy of a system on all classes, where it tells a reader something else than accuracy."""
    if isinstance(system, Trained) and system.task.kind != TaskKind.ALL:
        return []
    scores = system.test if isinstance(system, Trained) else system.test.combined
    balanced = scores.balanced_accuracy
    if balanced is None or abs(balanced - scores.accuracy) < NOTICEABLE:
        return []
    line = f"{system.name}: balanced accuracy {100 * balanced:.1f} % on test, where each class counts the same"
    return [(f"{line} (accuracy {100 * scores.accuracy:.1f} %)", "")]


def weights_line(system: Trained | Combination) -> list[tuple[str, str]]:
    """Return where the weights of a net are that was not exported, and what they are good for; nothing of any other."""
    file = system.run.weights_file if system.run else None
    if file is None:
        return []
    return [(f"weights: {file} (not exported: it can't be served, or be a teacher by its run; --weights begins with them)", "")]


def cost_lines(system: Trained | Combination) -> list[tuple[str, str]]:
    """Return what a model costs: parameters, size of its file, latency."""
    return [(f"cost: {cost_text(system, file_bytes(system.run))}", "")]


def cost_record(system: Trained | Combination) -> dict[str, Any]:
    """Return the same for a script."""
    return {
        "parameters": system.parameters,
        "bytes": file_bytes(system.run),
        "latency": latency_record(system.latencies),
    }


def change_record(change: Change) -> dict[str, Any]:
    """Return a change for a script: fractions, and null where there is no interval."""
    return {
        "system": change.label,
        "beside": change.beside,
        "verdict": change.verdict,
        "difference": change.difference.mean,
        "interval": bounds_record(change.difference),
        "n": change.difference.n,
        "over": change.over,
        "accuracy": change.after.mean,
        "accuracy_before": change.before.mean,
    }


def _accuracy(trained: Trained) -> Interval:
    correct = trained.test_logits.argmax(dim=1) == trained.task.test.labels
    return wilson_interval(int(correct.sum()), len(correct))


def _accuracy_line(trained: Trained) -> str:
    told = format_interval(_accuracy(trained), signed=False)
    return f"{trained.name}: {told} images right on test; it was compared with nothing"
