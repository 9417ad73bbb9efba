"""Runs are opened, below another or not, and ended."""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.entities import LifecycleStage, RunData, RunInfo, RunStatus
from mlflow.entities import Run as Entity
from mlflow.exceptions import MlflowException
from mlflow.tracking import fluent
from mlflow.tracking.context.registry import resolve_tags
from sqlalchemy.exc import SQLAlchemyError

from kd.machine.activity import doing
from kd.machine.output import is_verbose
from kd.machine.processes import myself
from kd.machine.signals import check_stop
from kd.machine.text import printable
from kd.tracking.earlier import PROCESS, end_orphans, keep_children
from kd.tracking.machine_metrics import MachineMetrics
from kd.tracking.outbox.delivery import FILES_OF
from kd.tracking.outbox.ids import new_id
from kd.tracking.outbox.outbox import FOLDER, Left, Outbox, left_text, outbox_open, post, send_left
from kd.tracking.ready import make_tables, short_patience, tracking_uri, unusable
from kd.tracking.store.known import RUNS, Known, known_of, looked_up, note_known
from kd.tracking.store.links import run_link
from kd.tracking.store.logged import BEFORE, Logged, logged_before, logged_of
from kd.tracking.store.texts import HISTORY, MAX_RUN_NAME, NOTE, cut_text, now_ms, shown, tag_run, tag_texts
from kd.tracking.store.under_way import Run
from kd.tracking.views import KEY_PREFIX, MAX_VIEWS, View, view_tag, views_of

log = logging.getLogger("kd")
if not log.level:
    log.setLevel(logging.WARNING)  # mlflow.pytorch, where it is imported, raises the root logger's level to ERROR


_EXPERIMENT = {
    "mlflow.experimentKind": "custom_model_development",
    NOTE: "Knowledge distillation with kd. The saved views compare the runs; the note of a command's run is its summary.",
}
"""Tags of an experiment: what its page is for, and its description."""


SYSTEM_METRICS_SECONDS = "5"


def open_run() -> str | None:
    """Return the id of the run that is open in this thread; None: none is."""
    active = mlflow.active_run()
    return None if active is None else str(active.info.run_id)


def say_reuse(line: str) -> None:
    """Say in a line what is resumed, or reused from another run, and note that in the runs that are open in this thread."""
    log.info("%s", line)
    for active in active_runs():
        run_id = str(active.info.run_id)
        history = known_of(run_id).history
        if line not in history:
            history.append(line)
            tag_run(run_id, {HISTORY: "\n".join(history)})


def finished_run(run_id: str, name: str, output_dir: Path) -> Run:
    """Return a run that has ended, whose results are reused.

    Args:
        run_id: its id.
        name: what was made in it.
        output_dir: folder of its files on this machine.
    """
    known = looked_up(run_id)
    return Run(run_id, known.experiment_id, shown(printable(name)), output_dir, files_of=known.files_of)


def send_waiting(output_dir: Path, *, refused: bool = False) -> Left:
    """Send what commands before could not tell the tracking store, and say so; what it does not take goes on waiting.

    Args:
        output_dir: the output folder of those commands.
        refused: whether what the store refused before is sent once more, too.
    """
    quiet()
    left = send_left(output_dir, tracking_uri(), refused=refused)
    if left.sent:
        log.info("sent %d records that waited for the tracking store", left.sent)
    if left.waiting:
        log.warning("%s: %s", left_text(left.waiting, output_dir / FOLDER), left.why)
    return left


@contextmanager
def run(name: str, details: str = "", *, output_dir: Path, tags: Mapping[str, str], again: str | None = None) -> Iterator[Run]:
    """Open a run: the top one, or a child of the run that is open.

    It ends as FINISHED, as FAILED after an error, or as KILLED after Ctrl-C, SIGTERM or SIGHUP. Only the top run, which lasts
    as long as the process works, has system metrics. Before it is opened, the runs end that dead processes of this machine
    left open.

    Args:
        name: what is made in the run; its files and links to it are named so.
        details: what tells it from others of that name, in the list of runs.
        output_dir: folder of its files on this machine.
        tags: tags of the run.
        again: id of an ended run to resume; None: a new run.

    Raises:
        UserError: the tracking store can't be used.
    """
    above = mlflow.active_run()
    # Set by `mlflow run`: the next child would take that run for its own.
    opened_by_mlflow = os.environ.pop("MLFLOW_RUN_ID", None) if again is not None else None
    if again is not None and opened_by_mlflow not in {None, again}:
        _lead(str(opened_by_mlflow), again)
    # MLflow would open a child of a run that was resumed in the experiment of now, not in that of its parent.
    experiment = "" if above is None else str(above.info.experiment_id)
    parent = None if above is None else str(above.info.run_id)
    with (
        outbox_open(output_dir, tracking_uri(), keep=False) as outbox,
        _started(name, details, output_dir, tags, (KeyboardInterrupt,), outbox, experiment, parent, again) as opened,
    ):
        yield opened


@contextmanager
def child_run(  # noqa: PLR0913 - the run, and how it ends
    parent_run: str,
    name: str,
    details: str,
    *,
    output_dir: Path,
    tags: Mapping[str, str],
    killed_by: tuple[type[BaseException], ...],
) -> Iterator[Run]:
    """Open a run below a run that another process may have open; it ends as KILLED after the given exceptions.

    Name and details are those of :func:`run`.

    Raises:
        UserError: the tracking store can't be used.
    """
    experiment = looked_up(parent_run).experiment_id
    with (
        outbox_open(output_dir, tracking_uri(), keep=True) as outbox,
        _started(name, details, output_dir, tags, killed_by, outbox, experiment, parent_run) as opened,
    ):
        yield opened


@contextmanager
def _started(  # noqa: PLR0913, PLR0917 - the run, and how it ends
    name: str,
    details: str,
    output_dir: Path,
    tags: Mapping[str, str],
    killed_by: tuple[type[BaseException], ...],
    outbox: Outbox,
    experiment: str,
    parent: str | None,
    again: str | None = None,
) -> Iterator[Run]:
    quiet()
    make_tables()
    check_stop()
    name = printable(name)
    own = {"mlflow.runName": cut_text(f"{name} {details}".rstrip(), MAX_RUN_NAME), PROCESS: json.dumps(myself())}
    all_tags = tag_texts({**own, **tags})
    monitor = None
    try:
        with doing("opening a run"):
            if parent is None:
                active, before, monitor = _open_top(all_tags, again, outbox)
            else:
                active, before = _open_child(all_tags, experiment, parent, again), logged_of(again)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise unusable(error) from None
    run_id, experiment_id = str(active.info.run_id), str(active.info.experiment_id)
    RUNS[run_id] = Known(experiment_id, all_tags["mlflow.runName"], is_new=before is None)
    RUNS[run_id].history += before.history if before is not None else ()
    views = views_of(tags.get("kd.role", ""))
    if parent is None or views:
        _describe(experiment_id, views)
    status = RunStatus.FAILED
    try:
        yield Run(run_id, experiment_id, shown(name), output_dir, before, before.files_of if before is not None else "")
        if parent is None:
            outbox.settle()
        outbox.check_refused()
        status = RunStatus.FINISHED
    except killed_by:
        status = RunStatus.KILLED
        raise
    finally:
        if monitor is not None:
            monitor.finish()
        _leave_run(run_id)
        post({"do": "end", "run": run_id, "status": RunStatus.to_string(status), "at": now_ms()})


def _open_top(
    tags: Mapping[str, str], again: str | None, outbox: Outbox
) -> tuple[Entity, Logged | None, MachineMetrics | None]:
    """Open a run that is below no other, with metrics of the machine; the store has to be there."""
    with short_patience():
        end_orphans(but=again)
        active = mlflow.start_run(run_id=again, tags=dict(tags), log_system_metrics=False)
    before = None
    if again is not None:
        before = logged_before(again)
        for child, is_stopped in keep_children(again):
            run_id = str(child.info.run_id)
            note_known(known_of(run_id), child)
            if is_stopped:
                BEFORE[run_id] = logged_before(run_id)
    monitor = MachineMetrics(str(active.info.run_id), outbox, resumed=again is not None)
    monitor.start()  # type: ignore[no-untyped-call] # MLflow's own
    return active, before, monitor


def _open_child(tags: Mapping[str, str], experiment: str, parent: str, again: str | None) -> Entity:
    """Open a run below another, and have MLflow take it for the active one."""
    if again is not None:
        post({"do": "reopen", "run": again, "tags": tags})
        run_id = again
    else:
        all_tags = resolve_tags({**tags, "mlflow.parentRunId": parent})
        new = new_id()
        run_id = str(post({"do": "open", "new": new, "experiment": experiment, "tags": all_tags, "at": now_ms()}))
        if run_id == new:  # the store will give it another one
            tag_run(run_id, {FILES_OF: new[:8]})
    info = RunInfo(run_id, experiment, "", RunStatus.to_string(RunStatus.RUNNING), now_ms(), None, LifecycleStage.ACTIVE)
    active = fluent.ActiveRun(Entity(info, RunData()))  # type: ignore[no-untyped-call] # MLflow's own
    active_runs().append(active)  # mlflow.start_run asks the store, which may be away
    return active


def _leave_run(run_id: str) -> None:
    """Have MLflow take a run for active no more; mlflow.end_run would tell the store, which may be away."""
    os.environ.pop("MLFLOW_RUN_ID", None)
    stack = active_runs()
    stack[:] = [active for active in stack if active.info.run_id != run_id]


def active_runs() -> list[fluent.ActiveRun]:
    """Return the runs that MLflow takes for active in this thread."""
    runs: list[fluent.ActiveRun] = fluent._active_run_stack.get()  # type: ignore[no-untyped-call] # noqa: SLF001 - no other way
    return runs


def _lead(run_id: str, to: str) -> None:
    """Have a run that ``mlflow run`` opened lead to the run that was resumed instead; that has all there is to see."""
    name = str(mlflow.get_run(to).info.run_name)
    tag_run(run_id, {"kd.resumed_run": to, NOTE: f"A command that had stopped was resumed: see {run_link(to, name)}."})


def _describe(experiment_id: str, views: Sequence[View]) -> None:
    """Give an experiment a kind and a description where it has none, and saved views.

    What is there is left as it is, so that a user's own words, and a view that was changed by hand, stay.
    """
    tags = dict(view_tag(view, now_ms()) for view in views)
    limits = {"prefix": KEY_PREFIX, "most": MAX_VIEWS}
    post({"do": "describe", "experiment": experiment_id, "tags": _EXPERIMENT, "views": tags, **limits})


def quiet() -> None:
    """Leave the terminal to kd's own lines, unless a user wants all: MLflow would log each of its steps."""
    if not is_verbose():
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of each try to reach a server
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback for each try to write to a database
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # the address may have a password in it
    # pandas 3 warns MLflow of itself at each table.
    warnings.filterwarnings("ignore", "For backward compatibility, 'str' dtypes", DeprecationWarning)
    os.environ["MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"] = SYSTEM_METRICS_SECONDS
    os.environ["MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING"] = "1"
