"""The last lines of a command: its answer with an interval, the model's file, the run, and what to try next."""

from collections.abc import Sequence
from pathlib import Path

from kd.config import StudentConfig
from kd.reports.changes import Change, verdict_line
from kd.tracking.store import Run
from kd.tracking.views import ALL_SYSTEMS

USUAL_TEMPERATURES = (1.0, 10.0)
USUAL_ALPHAS = (0.1, 0.99)
HARDLY_BETTER = 0.005
"""A teacher that is better than the control by less than this has hardly anything to teach."""
MAX_VERDICTS = 4


def answer_lines(parent: Run, changes: Sequence[Change], model_file: Path | None, config: StudentConfig | None) -> list[str]:
    """Return what a command found, and where it lies, in a few lines.

    Args:
        parent: the command's run.
        changes: what specialists and distillation changed, the command's own answer first.
        model_file: the model that the command was run for; None: there is no file of it.
        config: the settings of the distillation; None where nothing was distilled.
    """
    lines = [verdict_line(change) for change in changes[:MAX_VERDICTS]]
    if len(changes) > MAX_VERDICTS:
        lines.append(f"... and {len(changes) - MAX_VERDICTS} more in the run's note")
    if model_file is not None:
        lines.append(f"model: {model_file}")
    lines += [f"run: {parent.id}", f"to see it: {parent.way_to_see}", f"all systems: {parent.view_address(ALL_SYSTEMS)}"]
    hint = "" if config is None else advice(changes, config)
    return [*lines, hint] if hint else lines


def advice(changes: Sequence[Change], config: StudentConfig) -> str:
    """Return one line on what to try after a loss or a null result, from what was seen; empty where all changes are gains."""
    missed = [change for change in changes if change.verdict != "gain"]
    if not missed:
        return ""
    low, high = USUAL_TEMPERATURES
    least, most = USUAL_ALPHAS
    for change in missed:
        if change.teacher is not None and change.teacher < change.before.mean + HARDLY_BETTER:
            return (
                f"next: the teacher ({100 * change.teacher:.1f} %) is hardly better than the control of {change.label} "
                f"({100 * change.before.mean:.1f} %): try a better teacher (--teacher-epochs, --teacher-width) or a smaller net"
            )
    if not low <= config.temperature <= high:
        return f"next: a temperature of {config.temperature:g} is unusual: try --temperature 4"
    if not least <= config.alpha <= most:
        return f"next: an alpha of {config.alpha:g} leaves hardly anything of one of the two targets: try --alpha 0.9"
    if config.seeds == 1:
        return "next: one seed shows large differences only: try --seeds 5"
    return "next: kd tune searches temperature, alpha and width on val"
