"""Where the UI shows a run."""

import shlex
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from kd.machine.secrets import masked
from kd.tracking.outbox.outbox import is_store_away
from kd.tracking.ready import sqlite_path, tracking_uri
from kd.tracking.store.known import known_of, looked_up
from kd.tracking.views import run_page


def ui_address() -> tuple[str, str]:
    """Return the address of MLflow's UI, and the command that starts it there; empty where a server shows it."""
    uri = tracking_uri()
    if uri.startswith("http"):
        return masked(uri).rstrip("/"), ""
    is_default = sqlite_path(uri) == Path.cwd() / "mlflow.db"
    return "http://127.0.0.1:5000", "mlflow ui" if is_default else f"mlflow ui --backend-store-uri {shlex.quote(masked(uri))}"


def run_link(run_id: str, name: str = "") -> str:
    """Return a Markdown link to a run, by a name or by its own, that works in the notes that the UI shows."""
    known = known_of(run_id)
    if name and not known.experiment_id and is_store_away():
        active = mlflow.active_run()
        return link_to(name, "0" if active is None else str(active.info.experiment_id), run_id)
    try:
        known = looked_up(run_id)
    except MlflowException:
        if not name:
            raise
        return name  # its worker opened it while the store was away, and could not tell it of the run so far
    return link_to(name or known.name, known.experiment_id, run_id)


def link_to(name: str, experiment_id: str, run_id: str) -> str:
    """Return a Markdown link to a run by a name."""
    return f"[{name}]({run_page(experiment_id, run_id)})"
