"""Saved views of an experiment: which runs the UI's list shows, with which columns, in which order.

MLflow 3.17 opens an experiment with columns among which no metric is. A saved view is a tag of the experiment, in a form of
MLflow's own that is documented nowhere: :func:`view_tag` writes it, the browser's test reads it, nothing else depends on it.
"""

import base64
import json
import zlib
from dataclasses import dataclass

KEY_PREFIX = "mlflow.sharedViewState."
"""Tag of a saved view, with its key behind."""
MAX_VIEWS = 40
"""Saved views of an experiment beyond which none is added: MLflow shows no more."""

_MODE = "workflowType=machine_learning"
"""Without it MLflow 3.17 shows a page as one of traces and prompts, whatever the experiment's kind is."""
_FIRST_COLUMNS = ("1", "attributes.`Run Name`", "runDateAndNestInfo")
"""MLflow's names of the columns that stand first: the boxes to select runs, their names, and when they were created."""
_WIDTHS = {
    "attributes.`Run Name`": 250,
    "runDateAndNestInfo": 140,
    "tags.`kd.group`": 80,
    "tags.`kd.verdict`": 345,
    "tags.`kd.group_classes`": 200,
    "tags.`kd.role`": 85,
    "metrics.`test/own_accuracy`": 140,
    "metrics.`test/generalist_accuracy`": 180,
    "metrics.`test/teacher_agreement`": 170,
    "metrics.`test/calibration_error`": 150,
    "metrics.`cost/ms_per_image`": 150,
    "metrics.`cost/generalist_ms_per_image`": 210,
    "metrics.`val/chosen_accuracy`": 160,
    "metrics.`cost/parameters`": 125,
    "metrics.`test/accuracy`": 110,
    "metrics.`cost/trial_seconds`": 140,
}
"""Pixels of the columns whose heads or values are cut at MLflow's own width, 100."""


@dataclass(frozen=True)
class View:
    """A saved view."""

    name: str
    """As the list of saved views shows it."""
    filter: str
    """As ``mlflow.search_runs`` takes it."""
    order_by: str
    """Column by which the runs are sorted, the largest value first; by age, children would be folded into their parents."""
    columns: tuple[str, ...]
    """Columns beside the runs' names and ages."""

    @property
    def key(self) -> str:
        """Return what an address names it by."""
        return f"kd-{self.name.replace(' ', '-')}"


def _metrics(*names: str) -> tuple[str, ...]:
    return tuple(f"metrics.`{name}`" for name in names)


def _params(*names: str) -> tuple[str, ...]:
    return tuple(f"params.`{name}`" for name in names)


def _tags(*names: str) -> tuple[str, ...]:
    return tuple(f"tags.`kd.{name}`" for name in names)


SEARCHED = (
    *("temperature", "alpha", "loss", "standardize", "dkd_alpha", "dkd_beta", "dist_beta", "dist_gamma"),
    *("width", "depth", "epochs", "batch_size", "lr", "weight_decay", "use"),
    *("dustbin", "specialist_kind", "init", "own_fraction", "dustbin_correction", "top_n"),
)
"""All fields that a study can search; the UI shows columns of those that it did."""

_ACCURACY = "metrics.`test/accuracy`"
_OF_ALL_CLASSES = "tags.`kd.group` = 'all'"
_NET = _params("net", "depth", "width", "temperature", "alpha")

ALL_SYSTEMS = View(
    "all systems",
    "tags.`kd.group` LIKE '%'",  # what was trained or combined has a group of classes, be it all
    _ACCURACY,
    (
        *_tags("role", "group"),
        *_metrics("test/accuracy", "test/own_accuracy", "cost/parameters"),
        *_tags("verdict"),
        *_NET,
        *_tags("seed", "data"),
    ),
)
STUDENTS = View(
    "students against controls",
    f"{_OF_ALL_CLASSES} AND tags.`kd.role` != 'teacher' AND tags.`kd.role` != 'combined'",
    _ACCURACY,
    (
        *_tags("role"),
        *_metrics("test/accuracy", "cost/parameters"),
        *_tags("verdict"),
        *_metrics("test/nll", "test/calibration_error", "test/teacher_agreement"),
        *_NET,
        *_tags("seed", "data"),
    ),
)
SPECIALISTS = View(
    "specialists against controls",
    "tags.`kd.group` != 'all'",
    "metrics.`test/own_accuracy`",
    (
        *_tags("role", "group_classes"),
        *_metrics("test/own_accuracy", "cost/parameters"),
        *_tags("verdict"),
        *_metrics("test/nll"),
        *_NET,
        *_tags("seed", "data"),
    ),
)
COMBINED = View(
    "generalist against combined",
    f"{_OF_ALL_CLASSES} AND tags.`kd.role` != 'student' AND tags.`kd.role` != 'control'",
    _ACCURACY,
    (
        *_tags("role"),
        *_metrics("test/accuracy", "test/generalist_accuracy", "cost/parameters"),
        *_tags("verdict"),
        *_metrics("test/nll", "cost/ms_per_image", "cost/generalist_ms_per_image"),
        *_params("dustbin_correction", "top_n"),
        *_tags("seed", "data"),
    ),
)
TRIALS = View(
    "trials",
    "tags.`kd.role` = 'trial'",
    "metrics.`val/chosen_accuracy`",
    (
        *_tags("state"),
        *_metrics("val/chosen_accuracy", "cost/parameters"),
        *_params(*SEARCHED),
        *_metrics("cost/trial_seconds"),
        *_tags("point", "study"),
    ),
)

FINALS = View(
    "winner against others",
    "tags.`kd.role` = 'final'",
    _ACCURACY,
    (
        *_metrics("test/accuracy", "val/chosen_accuracy", "cost/parameters"),
        *_params(*SEARCHED),
        *_tags("seed", "data"),
    ),
)

_BY_ROLE = {
    "parent": (ALL_SYSTEMS,),
    "teacher": (ALL_SYSTEMS,),
    "student": (ALL_SYSTEMS, STUDENTS),
    "specialist": (ALL_SYSTEMS, SPECIALISTS),
    "combined": (ALL_SYSTEMS, COMBINED),
    "study": (TRIALS, FINALS),
}


def views_of(*roles: str) -> tuple[View, ...]:
    """Return the views in which runs of some roles are found."""
    return tuple(dict.fromkeys(view for role in roles for view in _BY_ROLE.get(role, ())))


def view_tag(view: View, created_ms: int) -> tuple[str, str]:
    """Return the tag of an experiment that saves a view, as MLflow's UI writes and reads it.

    Args:
        view: what is shown.
        created_ms: when it was saved, in milliseconds since 1970.
    """
    state = {
        "searchFilter": view.filter,
        "orderByKey": view.order_by,
        "orderByAsc": False,
        "selectedColumns": view.columns,
        "columnOrder": (*_FIRST_COLUMNS, *view.columns),
        "columnWidths": {column: _WIDTHS[column] for column in (*_FIRST_COLUMNS, *view.columns) if column in _WIDTHS},
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    value = {"name": view.name, "createdAt": created_ms, "state": f"deflate;{packed}"}
    return f"{KEY_PREFIX}{view.key}", json.dumps(value)


def view_page(experiment_id: str, view: View) -> str:
    """Return the page of a view, below the address of the UI."""
    return f"#/experiments/{experiment_id}/runs?{_MODE}&viewStateShareKey={view.key}"


def run_page(experiment_id: str, run_id: str) -> str:
    """Return the page of a run, below the address of the UI."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?{_MODE}"


def artifact_page(experiment_id: str, run_id: str, path: str) -> str:
    """Return the page of a run's artifact, below the address of the UI."""
    return f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{path}?{_MODE}"
