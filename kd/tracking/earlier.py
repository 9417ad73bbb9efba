"""Runs of before: those that stopped and can be resumed, those that are finished, those that dead processes left open."""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import mlflow
from filelock import FileLock, Timeout
from mlflow.entities import LifecycleStage, RunStatus
from mlflow.entities import Run as Entity
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from kd.machine.activity import doing
from kd.machine.locks import acquire, held
from kd.machine.processes import is_gone, is_here, is_of_another_boot
from kd.tracking.outbox.delivery import OPENED_AS, is_away
from kd.tracking.outbox.outbox import is_store_away, post, send_of_the_dead, settle

log = logging.getLogger("kd")

PROCESS = "kd.process"
"""Tag: the process that has the run open, as :func:`kd.machine.processes.myself` returns it, in JSON."""

FINGERPRINT = "kd.fingerprint"
"""Tag: all that decides the result of the run's training."""

DATA_DIGEST = "kd.data_digest"
"""Tag: the digest of the run's images."""

PARENT = "mlflow.parentRunId"
"""Tag: the run above."""

MAX_STOPPED = 50
"""Stopped runs that are looked at for one that can be resumed."""


MAX_LISTED = 500
"""Runs that are asked for at once."""


SILENT_SECONDS = 1800.0


@dataclass(frozen=True)
class Earlier:
    """A run of before that did what is asked for now, or a part of it."""

    id: str
    is_finished: bool


class State(Enum):
    """What became of a run."""

    FINISHED = "finished"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    LEFT_OPEN = "left open"
    """It looks as if it were running, but its process is gone."""


@dataclass(frozen=True)
class TopRun:
    """A command's run."""

    id: str
    name: str
    state: State
    start_ms: int
    """When it began, in milliseconds since 1970."""


@contextmanager
def stopped_run(tag: str, fingerprint: str, folder: Path) -> Iterator[str | None]:
    """Find the newest top run with a fingerprint that stopped before its end, and hold it until the block's end.

    A run that a living process has open, or one that may live on another machine, is not taken.

    Args:
        tag: the tag that holds the fingerprint.
        fingerprint: digest of all that decides the run's result.
        folder: where a file locks the run, so that of two commands at once one resumes it.

    Yields:
        The run's id; None: there is none.
    """
    for run in _stopped(tag, fingerprint):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"run-{run.info.run_id}.lock")
        try:
            acquire(lock)
        except Timeout:
            continue
        with held(lock):
            if _can_be_resumed(mlflow.get_run(run.info.run_id)):  # another command may have resumed it just now
                yield str(run.info.run_id)
                return
    yield None


def last_stopped(tag: str, fingerprint: str) -> tuple[str, str] | None:
    """Return the id and the digest of the images of the newest run with a fingerprint, if it stopped; None: it did not."""
    client, newest_first = mlflow.MlflowClient(), ["attributes.start_time DESC"]
    found = client.search_runs(experiments(), f"tags.`{tag}` = '{fingerprint}'", order_by=newest_first, max_results=1)
    return next(((run.info.run_id, run.data.tags.get(DATA_DIGEST, "")) for run in found if _can_be_resumed(run)), None)


@doing("looking for a stopped run to resume")
def _stopped(tag: str, fingerprint: str) -> list[Entity]:
    found = mlflow.MlflowClient().search_runs(
        experiments(),
        f"tags.`{tag}` = '{fingerprint}' and attributes.status != 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        max_results=MAX_STOPPED,
    )
    return [run for run in found if PARENT not in run.data.tags and _can_be_resumed(run)]


def _can_be_resumed(run: Entity) -> bool:
    """Return whether a run ended before it was finished, or its process did."""
    running = run.info.status == RunStatus.to_string(RunStatus.RUNNING)
    return is_orphan(run) if running else run.info.status != RunStatus.to_string(RunStatus.FINISHED)


def earlier_child(parent_run: str, fingerprint: str) -> Earlier | None:
    """Return the run below a resumed one that did the same training: a finished one, else the newest; None: there is none.

    Where the store is away, the answer is that of when the parent was resumed: no other process makes runs below it.
    """
    found = [run for run in _children.get(parent_run, []) if run.data.tags.get(FINGERPRINT) == fingerprint]
    settle()
    if not is_store_away():
        with _passed_over_away():
            found = children_of(parent_run, f" and tags.`{FINGERPRINT}` = '{fingerprint}'")
    done = [Earlier(run.info.run_id, run.info.status == RunStatus.to_string(RunStatus.FINISHED)) for run in found]
    return next((run for run in done if run.is_finished), done[0] if done else None)


_children: dict[str, list[Entity]] = {}
"""The runs below a run that was resumed, when it was."""


def keep_children(parent_run: str) -> list[tuple[Entity, bool]]:
    """Keep what is below a run that is resumed, for a time when the store is away; return each run, and whether it stopped."""
    _children[parent_run] = found = children_of(parent_run)
    return [(run, FINGERPRINT in run.data.tags and _can_be_resumed(run)) for run in found]


def children_of(parent_run: str, more: str = "") -> list[Entity]:
    """Return the runs below a run, the newest first; ``more`` is a further part of MLflow's filter."""
    experiment = mlflow.get_run(parent_run).info.experiment_id
    newest_first = ["attributes.start_time DESC"]
    return list(
        mlflow.MlflowClient().search_runs(
            [experiment], f"tags.`{PARENT}` = '{parent_run}'{more}", order_by=newest_first, max_results=MAX_LISTED
        )
    )


def find_run(run_id: str) -> Entity:
    """Return a run by its id, or by one of kd's own, which it had while the store was away.

    Raises:
        MlflowException: MLflow's own: there is no such run, or the store can't be asked.
    """
    try:
        return mlflow.get_run(run_id)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        found = mlflow.MlflowClient().search_runs(experiments(), f"tags.`{OPENED_AS}` = '{run_id}'", max_results=1)
        if not found:
            raise
        return found[0]


def has_run(run_id: str) -> bool:
    """Return whether the tracking store has a run that is not deleted."""
    try:
        return bool(find_run(run_id).info.lifecycle_stage == LifecycleStage.ACTIVE)
    except MlflowException:
        return False


def has_finished(run_id: str) -> bool:
    """Return whether the tracking store has a run that is FINISHED, and so is not opened again."""
    try:
        run = mlflow.get_run(run_id)
    except MlflowException:
        return False
    finished = run.info.status == RunStatus.to_string(RunStatus.FINISHED)
    return finished and bool(run.info.lifecycle_stage == LifecycleStage.ACTIVE)


def running_children(parent_run: str) -> dict[str, dict[str, str]]:
    """Return the tags of a run's children that have not ended, by run id; none while the store is away."""
    if is_store_away():
        return {}
    send_of_the_dead()
    with _passed_over_away():
        experiment = mlflow.get_run(parent_run).info.experiment_id
        below = f"tags.`{PARENT}` = '{parent_run}' and attributes.status = 'RUNNING'"
        return {run.info.run_id: run.data.tags for run in mlflow.MlflowClient().search_runs([experiment], below)}
    return {}


@contextmanager
def _passed_over_away() -> Iterator[None]:
    """Pass over that the store can't be reached."""
    try:
        yield
    except MlflowException as error:
        if not is_away(error):
            raise


@doing("looking for runs that were left open")
def end_orphans(but: str | None = None) -> list[str]:
    """End the runs that dead processes of this machine left open, and return their ids.

    Args:
        but: a run that is about to be resumed.
    """
    ended = []
    left_open = f"attributes.status = 'RUNNING' and tags.`{PROCESS}` LIKE '%'"
    for run in mlflow.MlflowClient().search_runs(experiments(), left_open):
        if run.info.run_id == but or not is_orphan(run):
            continue
        state = {"kd.state": "failed"} if "kd.state" in run.data.tags else {}  # a trial's
        with suppress(MlflowException):  # another user's run, say, on a server that has users
            end_as_failed(run.info.run_id, {**state, "kd.reason": "its process died"})
            log.info("run %s (%s): its process died; ended as failed", run.info.run_id, run.info.run_name)
            ended.append(str(run.info.run_id))
    return ended


def end_as_failed(run_id: str, tags: Mapping[str, str]) -> None:
    """End a run whose process is gone."""
    post({"do": "batch", "run": run_id, "tags": dict(tags)})
    post({"do": "end", "run": run_id, "status": RunStatus.to_string(RunStatus.FAILED), "at": int(time.time() * 1000)})


@doing("listing runs")
def top_runs(most: int) -> list[TopRun]:
    """Return the newest runs of commands, the newest one first.

    Args:
        most: how many at most.
    """
    client, newest = mlflow.MlflowClient(), ["attributes.start_time DESC"]
    found: list[TopRun] = []
    token = None
    while len(found) < most:
        page = client.search_runs(
            experiments(), f"tags.`{PROCESS}` LIKE '%'", order_by=newest, max_results=MAX_LISTED, page_token=token
        )
        top = [run for run in page if PARENT not in run.data.tags]
        found += [TopRun(run.info.run_id, str(run.info.run_name), _state(run), run.info.start_time) for run in top]
        token = page.token
        if not token:
            break
    return found[:most]


def _state(run: Entity) -> State:
    if run.info.status == RunStatus.to_string(RunStatus.RUNNING):
        return State.LEFT_OPEN if is_orphan(run) else State.RUNNING
    states = {RunStatus.FINISHED: State.FINISHED, RunStatus.KILLED: State.STOPPED}
    return states.get(RunStatus.from_string(run.info.status), State.FAILED)


def is_orphan(run: Entity) -> bool:
    """Return whether the process that had a run open is known to be gone."""
    try:
        process = json.loads(run.data.tags[PROCESS])
    except (LookupError, TypeError, ValueError):  # not a run of kd's
        return False
    return is_gone(process) or (is_of_another_boot(process) and _is_silent(run))


def is_open_here(tags: Mapping[str, str]) -> bool:
    """Return whether a living process of this machine has a run open, which ends it when the store takes it."""
    try:
        process = json.loads(tags[PROCESS])
    except (LookupError, TypeError, ValueError):
        return False
    return is_here(process) and not is_gone(process)


def _is_silent(run: Entity) -> bool:
    """Return whether nothing was heard of a run, and of the one above it, for so long that its process can't be alive.

    A command's run has metrics of the machine every few seconds.
    """
    above = run.data.tags.get(PARENT)
    runs = [run, *([mlflow.get_run(above)] if above else [])]
    heard = [run.info.start_time, *(metric.timestamp for one in runs for metric in one.data._metric_objs)]  # noqa: SLF001 - no other way
    return bool(time.time() - max(heard) / 1000 > SILENT_SECONDS)


def experiments() -> list[str]:
    """Return the ids of all experiments."""
    return [experiment.experiment_id for experiment in mlflow.MlflowClient().search_experiments()]
