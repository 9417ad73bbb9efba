"""Runs of before, found by what they are of, each time with a fixed number of queries, however many runs there are."""

import re
from dataclasses import dataclass

import mlflow

from kd.machine.activity import doing
from kd.tracking.earlier import FINGERPRINT, experiments
from kd.tracking.metric_names import metric_of, names_of

MAX_FOUND = 10
"""Runs that are looked at, of which the first one that can be used is used."""
CHOSEN_ACCURACY = "val/chosen_accuracy"
"""The metric by which finished nets are compared."""
TEACHER = "kd.teacher"
"""Tag: the run of a command's teacher, or several with commas between."""
_RUN_IDS = re.compile("[0-9a-f]{32}(,[0-9a-f]{32})*")


@dataclass(frozen=True)
class FinishedTeacher:
    """A finished training of a teacher."""

    run_id: str
    val_accuracy: float
    start_ms: int


@doing("looking for finished runs")
def find_finished(fingerprint: str) -> list[str]:
    """Return the ids of the newest FINISHED runs with a fingerprint, in any experiment, the newest one first."""
    found = _search(
        f"tags.`{FINGERPRINT}` = '{fingerprint}' and attributes.status = 'FINISHED'", ["attributes.start_time DESC"]
    )
    return [run.info.run_id for run in found]


@doing("looking for finished teachers")
def best_teachers(data_digest: str) -> list[FinishedTeacher]:
    """Return the finished teachers of a data set that are best on val, in any experiment; of equals the newest comes first."""
    of_data = f"tags.`kd.role` = 'teacher' and tags.`kd.data_digest` = '{data_digest}' and attributes.status = 'FINISHED'"
    found = {}
    for name in names_of(CHOSEN_ACCURACY):
        for run in _search(f"{of_data} and metrics.`{name}` >= 0", [f"metrics.`{name}` DESC", "attributes.start_time DESC"]):
            accuracy = metric_of(run.data.metrics, CHOSEN_ACCURACY)
            if accuracy is not None:
                found[run.info.run_id] = FinishedTeacher(run.info.run_id, accuracy, run.info.start_time)
    ranked = sorted(found.values(), key=lambda teacher: (teacher.val_accuracy, teacher.start_ms), reverse=True)
    return ranked[:MAX_FOUND]


def teacher_of(run_id: str) -> str:
    """Return the run of the teacher that a command's run has, or several with commas between; empty where it has none."""
    teacher = str(mlflow.get_run(run_id).data.tags.get(TEACHER, ""))
    return teacher if _RUN_IDS.fullmatch(teacher) else ""


def _search(query: str, order: list[str]) -> list[mlflow.entities.Run]:
    return list(mlflow.MlflowClient().search_runs(experiments(), query, order_by=order, max_results=MAX_FOUND))
