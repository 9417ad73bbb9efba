"""Names and lengths of what the store keeps, and texts as it may have them."""

import time
from collections.abc import Mapping

from kd.machine.names import cut
from kd.machine.secrets import masked
from kd.tracking.outbox.outbox import post

MAX_PARAM = 6000
MAX_TAG = 5000
MAX_RUN_NAME = 250
"""Characters that MLflow's stores take."""
MAX_NOTE = 8000
"""Characters of a tag: MLflow cuts a longer one in the middle of a row."""
NOTE = "mlflow.note.content"
"""Tag: the description of an experiment, a run or a model, in Markdown."""
COST = "cost/"
"""Beginning of the metrics that tell what was measured on the machine, and so differ from one time to the next."""
MODEL_FILE = "data/model.pt2"
"""The program and its weights, below the folder of a logged model."""
MODEL_DIGEST = "kd.model_sha256"
"""Tag: SHA-256 of the model's file, which must be that of the file when it is loaded."""
REPORT = "report.html"
"""The report, among a run's artifacts."""
SETTINGS_FILE = "settings/config.yaml"
"""The whole configuration of a command, among the artifacts of its run."""
NOT_EXPORTED = "kd.not_exported"
"""Tag of a run whose model is not exported."""
HISTORY = "kd.history"
"""Tag: what was resumed in a run, and what was reused in it from other runs, a line each."""


def now_ms() -> int:
    """Return the time in milliseconds since 1970, as MLflow has it."""
    return int(time.time() * 1000)


def shown(text: str) -> str:
    """Return a user's text as MLflow may have it: without secrets, and of whole characters."""
    return masked(text).encode(errors="backslashreplace").decode()


def cut_text(value: str, most: int) -> str:
    """Return a user's text as :func:`shown`, of a length that MLflow takes."""
    return cut(shown(value), most)


def tag_texts(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags as the store takes them."""
    return {name: cut_text(value, MAX_TAG) for name, value in tags.items()}


def tag_run(run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run that may have ended."""
    post({"do": "batch", "run": run_id, "tags": tag_texts(tags)})
