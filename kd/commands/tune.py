"""``kd tune``: the search for the best configuration."""

from typing import TYPE_CHECKING, Any

from kd.commands.answer import COLOURS, Answer, bounds_record, no_change, place_lines, place_record
from kd.config import TuneConfig
from kd.machine.signals import check_stop, end_at_signals, note_signals
from kd.search.workers.fork_server import start_fork_server, wait_for_fork_server

if TYPE_CHECKING:
    from kd.evaluation.comparisons import Comparison
    from kd.search.outcome import Outcome

FEW_SEEDS = 5
HARD_TARGETS = "winner on hard targets"


def tune(config: TuneConfig) -> Answer:
    """Search for the configuration with the best accuracy on val."""
    check_stop()
    end_at_signals()  # nothing begins while libraries load
    start_fork_server()  # it loads them on one core, the import below loads the same ones on another
    from kd.search.command import search  # noqa: PLC0415 - not before

    note_signals()
    if config.needs_latency():
        wait_for_fork_server()
    found = search(config)
    return Answer() if found is None else study_answer(found)


def study_answer(found: "Outcome") -> Answer:
    """Return what a study found: how the winner compares on test, its settings' file, and the study's run."""
    differences = found.differences()
    told = [(f"winner, trial {found.trial}: {text}", verdict) for text, verdict in found.told()] or [
        (f"winner, trial {found.trial}: it was not compared on test", "")
    ]
    first = next(iter(differences.items()), None)
    advice = found.at_edge or _next(found)
    record = {
        **no_change(),
        **({} if first is None else {"beside": first[0], **_record(first[1])}),
        **place_record(found.run),
        "study": found.study,
        "trial": found.trial,
        "val_accuracy": found.val_accuracy,
        "certainty": found.certainty,
        "settings": str(found.best_file),
        "report": str(found.run.report_file),
        "model": None,
        "changes": [{"beside": name, **_record(difference)} for name, difference in differences.items()],
        "next": advice or None,
    }
    lines = [(line, COLOURS.get(verdict, "")) for line, verdict in told]
    lines.append((found.certainty, ""))
    lines.append((f"settings: {found.best_file}; {found.command} trains the model", ""))
    following = [(f"next: {advice}", "")] if advice else []
    return Answer(
        [*lines, *place_lines(found.run, None, f"all trials: {found.view}", found.run.report_file), *following], record
    )


def _next(found: "Outcome") -> str:
    """Return what to try where the winner stands in the middle of what was searched."""
    differences = found.differences()
    if HARD_TARGETS in differences and differences[HARD_TARGETS].verdict == "loss":
        return "on hard targets alone the winner is better: search with a better teacher (--teacher-epochs, --teacher-width)"
    seeds = min((len(values) for values in found.tests.values()), default=0)
    if seeds < FEW_SEEDS and any(one.verdict == "null result" for one in differences.values()):
        return f"{seeds} seeds show large differences only: the same command with --final-seeds 5 compares the winner again"
    return ""


def _record(found: "Comparison") -> dict[str, Any]:
    return {
        "verdict": found.verdict,
        "difference": found.difference.mean,
        "interval": bounds_record(found.difference),
        "n": found.difference.n,
        "over": found.over,
    }
