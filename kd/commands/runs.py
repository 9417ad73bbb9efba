"""``kd runs``: the runs of commands, which of them can be resumed, and which a dead process left open."""

from collections.abc import Sequence
from datetime import datetime

from kd.commands.answer import Answer
from kd.config import RunsConfig
from kd.errors import EXIT_FAILED
from kd.machine.paths import user_path
from kd.machine.text import printable
from kd.tracking.earlier import State, TopRun, end_orphans, top_runs
from kd.tracking.ready import check_ready, is_made
from kd.tracking.store import quiet, send_waiting

COLOURS = {State.FINISHED: "green", State.RUNNING: "", State.STOPPED: "yellow", State.FAILED: "red", State.LEFT_OPEN: "red"}
ADVICE = {
    State.STOPPED: "the same command resumes it",
    State.FAILED: "the same command resumes it",
    State.LEFT_OPEN: "its process is gone; `kd runs --repair` ends it, and so does the next command",
}


def runs(config: RunsConfig) -> Answer:
    """List the newest runs of commands; send what waits for the store, and end the runs that dead processes left open."""
    quiet()
    check_ready()
    output_dir = user_path(config.output_dir, "output_dir")
    left = send_waiting(output_dir, refused=True) if config.send else None
    if not is_made():
        return Answer([("no runs: the tracking store is not made yet", "")], {"runs": [], "ended": []}, is_report=True)
    ended = end_orphans() if config.repair else []
    found = top_runs(config.last)
    lines = [(_line(run), COLOURS[run.state]) for run in found]
    lines += [(f"ended {run_id}: its process is gone", "") for run_id in ended]
    if config.repair and not ended:
        lines.append(("nothing to repair: no run was left open by a process that is gone", ""))
    record = {"runs": [_record(run) for run in found], "ended": ended}
    if left is None:
        return Answer([*lines, (_sum(found), "")], record, is_report=True)
    lines.append((f"sent {left.sent} records; {left.waiting} wait on", "red" if left.waiting else ""))
    code = EXIT_FAILED if left.waiting else 0
    return Answer([*lines, (_sum(found), "")], {**record, "sent": left.sent, "waiting": left.waiting}, code, is_report=True)


def _line(run: TopRun) -> str:
    begun = datetime.fromtimestamp(run.start_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")
    advice = f"; {ADVICE[run.state]}" if run.state in ADVICE else ""
    return f"{run.state.value:<9}  {begun}  {run.id[:8]}  {printable(run.name)}{advice}"


def _record(run: TopRun) -> dict[str, str | int]:
    return {"run_id": run.id, "name": run.name, "state": run.state.value, "started_ms": run.start_ms}


def _sum(found: Sequence[TopRun]) -> str:
    if not found:
        return "no runs"
    counts = {state: sum(run.state == state for run in found) for state in State}
    return ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
