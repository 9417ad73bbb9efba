"""MLflow: a run and its params, metrics, figures, data sets and models.

A few files beside these import it too; ``pyproject.toml`` names them. What a run tells the store goes through
:mod:`kd.tracking.outbox`, which keeps it where the store is away.

    opened     a run is opened, below another or not, and ended
    under_way  what is logged in it
    logged     what a run had logged when it stopped
    known      what this process knows of runs, whether the store is there or not
    links      where the UI shows a run
    texts      names and lengths of what the store keeps, and texts without secrets
"""

from kd.tracking.store.known import run_metrics, run_name, run_params
from kd.tracking.store.links import run_link
from kd.tracking.store.opened import child_run, finished_run, open_run, quiet, run, say_reuse, send_waiting
from kd.tracking.store.texts import MODEL_DIGEST, MODEL_FILE, NOT_EXPORTED, NOTE, SETTINGS_FILE, tag_run
from kd.tracking.store.under_way import Run

__all__ = [
    "MODEL_DIGEST",
    "MODEL_FILE",
    "NOTE",
    "NOT_EXPORTED",
    "SETTINGS_FILE",
    "Run",
    "child_run",
    "finished_run",
    "open_run",
    "quiet",
    "run",
    "run_link",
    "run_metrics",
    "run_name",
    "run_params",
    "say_reuse",
    "send_waiting",
    "tag_run",
]
