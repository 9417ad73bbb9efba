"""Records as MLflow is told them. A record may be delivered twice, after a stop in between, and has its effect once."""

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlflow
import requests
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from kd.machine.files import file_digest, write_whole
from kd.tracking.outbox.ids import Ids, NotMadeError
from kd.tracking.outbox.journal import Record

log = logging.getLogger("kd")

CHAMPION = "champion"
FACTS_FILE = "MLmodel"
"""What is known of a model, beside it."""
FACTS_DIGEST = "kd.model_facts_sha256"
"""Tag: SHA-256 of the file with the model's facts."""
OPENED_AS = "kd.opened_as"
"""Tag of a run or model that is created by a record: the record's id, by which it is found again."""
FILES_OF = "kd.files_of"
"""Tag of a run whose files on this machine are named by the id that it had first: the beginning of that."""
_TABLES = "mlflow.loggedArtifacts"
"""Tag: the tables that the UI shows."""
_MODEL = "m-"
"""Beginning of the ids of MLflow's models."""
_NOT_NOW = {401, 407, 408, 425, 429}
"""HTTP's codes for what may be taken later: who asks is not known any more, it came too late, too early or too often."""
_ILL = 500
"""From this code on the faults are the server's own."""
_CODE = re.compile(r"failed with error code (\d{3})\b")
"""How MLflow tells a code that came without an answer of its own, from a server before it."""


@dataclass(frozen=True)
class Point:
    """One value of a metric."""

    key: str
    value: float
    timestamp: int
    step: int
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None

    def record(self) -> dict[str, Any]:
        """Return it as a record holds it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def is_away(error: Exception) -> bool:
    """Return whether a store could not be reached or is ill, so that the same may succeed later."""
    if isinstance(error, requests.RequestException):
        return error.response is None or _is_ill(error.response.status_code)
    if isinstance(error, MlflowException):
        told = _CODE.search(str(error))
        code = int(told[1]) if told else error.get_http_status_code()  # type: ignore[no-untyped-call] # MLflow's own
        return _is_ill(code)
    return isinstance(error, OperationalError | InterfaceError | PoolTimeoutError)


def is_refusal(error: Exception) -> bool:
    """Return whether a record can't be delivered ever: the store refuses it, or it can't be read."""
    if isinstance(error, requests.RequestException | MlflowException):
        return not is_away(error)
    kinds = (NotMadeError, FileNotFoundError, ValueError, TypeError, LookupError, AttributeError)
    return isinstance(error, kinds)


def _is_ill(code: int) -> bool:
    return code >= _ILL or code in _NOT_NOW


def deliver_text(text: str, payload: Path | None, ids: Ids) -> None:
    """Deliver a record that was on disk, with the store's ids in the place of kd's own.

    Raises:
        NotKnownYetError: it names a run that the store does not have yet.
        NotMadeError: it names a run that the store refused to make.
    """
    record = json.loads(text)
    new = record.pop("new", None)
    try:
        record = json.loads(ids.resolved(json.dumps(record)))
        deliver({**record, "new": new} if new else record, payload, ids)
    except Exception as error:
        if new and is_refusal(error):
            ids.refuse(new)
        raise


def deliver(record: Record, payload: Path | None, ids: Ids | None = None) -> str | None:
    """Do what a record says, and return the id of the run or model that it creates; None: it creates none.

    Args:
        record: what to do (``do``), and with what.
        payload: the file or folder that belongs to it.
        ids: where the id of what is created is noted; None: it is not, as nobody has another one.
    """
    return _DO[record["do"]](mlflow.MlflowClient(), record, payload, ids)


Deed = Callable[[mlflow.MlflowClient, Record, Path | None, Ids | None], str | None]


def _open(client: mlflow.MlflowClient, record: Record, _: Path | None, ids: Ids | None) -> str:
    new, experiment, tags = record["new"], record["experiment"], dict(record["tags"])
    found: Sequence[mlflow.entities.Run] = []
    if ids is not None:
        tags[OPENED_AS] = new
        found = client.search_runs([experiment], f"tags.`{OPENED_AS}` = '{new}'", max_results=1)
    run = found[0] if found else client.create_run(experiment, record["at"], tags, tags.get("mlflow.runName"))
    if ids is not None:
        ids.learn(new, run.info.run_id)
    return str(run.info.run_id)


def _reopen(client: mlflow.MlflowClient, record: Record, _: Path | None, __: Ids | None) -> None:
    client.update_run(record["run"], status="RUNNING")
    client.log_batch(record["run"], tags=_tags(record["tags"]))


def _batch(client: mlflow.MlflowClient, record: Record, _: Path | None, __: Ids | None) -> None:
    run = record["run"]
    metrics = [Metric(**point, run_id=run) for point in record.get("metrics", [])]
    client.log_batch(run, metrics=metrics, tags=_tags(record.get("tags", {})))


def _tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(name, value) for name, value in tags.items()]


def _params(client: mlflow.MlflowClient, record: Record, _: Path | None, __: Ids | None) -> None:
    present = client.get_run(record["run"]).data.params
    missing = [Param(name, value) for name, value in record["params"].items() if name not in present]
    client.log_batch(record["run"], params=missing)


def _inputs(client: mlflow.MlflowClient, record: Record, _: Path | None, __: Ids | None) -> None:
    client.log_inputs(
        record["run"],
        [DatasetInput(Dataset(**data), [InputTag("mlflow.data.context", context)]) for context, data in record["data"].items()],
    )


def _file(client: mlflow.MlflowClient, record: Record, payload: Path | None, _: Ids | None) -> None:
    client.log_artifact(record["run"], str(payload), record["folder"] or None)


def _text(client: mlflow.MlflowClient, record: Record, _: Path | None, __: Ids | None) -> None:
    client.log_text(record["run"], record["text"], record["name"])


def _table(client: mlflow.MlflowClient, record: Record, payload: Path | None, ids: Ids | None) -> None:
    _file(client, record, payload, ids)
    present = json.loads(client.get_run(record["run"]).data.tags.get(_TABLES, "[]"))
    table = {"path": f"{record['folder']}/{Path(str(payload)).name}", "type": "table"}
    if table not in present:
        client.set_tag(record["run"], _TABLES, json.dumps([*present, table]))


def _model(client: mlflow.MlflowClient, record: Record, payload: Path | None, ids: Ids | None) -> str:
    run, new = client.get_run(record["run"]), record["new"]
    model_id = _created_model(client, run, record, ids)
    if model_id not in {output.model_id for output in (run.outputs.model_outputs if run.outputs else [])}:
        client.log_outputs(record["run"], [LoggedModelOutput(model_id, step=0)])
    folder = Path(str(payload))
    facts = folder / FACTS_FILE
    text = facts.read_text(encoding="utf-8")
    location = client.get_logged_model(model_id).artifact_location
    text = text.replace(location_of(new), location).replace(model_of(new), model_id)
    # A new file: this one may be linked to another.
    facts.unlink()
    facts.write_text(ids.resolved(text) if ids is not None else text, encoding="utf-8")
    client.log_model_artifacts(model_id, str(folder))
    client.finalize_logged_model(model_id, "READY")
    client.log_batch(record["run"], tags=[*_tags(record["digests"]), RunTag(FACTS_DIGEST, file_digest(facts))])
    return model_id


def _beside(_: mlflow.MlflowClient, record: Record, __: Path | None, ids: Ids | None) -> None:
    """Have a file on this machine, written while a run had an id of kd's own, name the store's."""
    path = Path(record["path"])
    if ids is None or not path.is_file():
        return
    before = path.read_text(encoding="utf-8")
    after = ids.resolved(before)
    if after != before:
        write_whole(path, after.encode())


def model_of(new: str) -> str:
    """Return the id that a model has until the store has given it one."""
    return f"{_MODEL}{new}"


def location_of(new: str) -> str:
    """Return what stands for the place of a model's files until the store has told it."""
    return f"location-of-{new}"


def _created_model(client: mlflow.MlflowClient, run: mlflow.entities.Run, record: Record, ids: Ids | None) -> str:
    new, experiment = record["new"], run.info.experiment_id
    tags = dict(record["tags"])
    if ids is not None:
        tags[OPENED_AS] = new
        found = client.search_logged_models([experiment], f"tags.`{OPENED_AS}` = '{new}'", max_results=1)
        if found:
            ids.learn(new, str(found[0].model_id).removeprefix(_MODEL))
            return str(found[0].model_id)
    model = client.create_logged_model(experiment, record["name"], run.info.run_id, tags, run.data.params)
    if ids is not None:
        ids.learn(new, str(model.model_id).removeprefix(_MODEL))
    return str(model.model_id)


def _delete_models(client: mlflow.MlflowClient, record: Record, _: Path | None, __: Ids | None) -> None:
    for model_id in record["models"]:
        with _unless_away():  # it may be deleted already
            client.delete_logged_model(model_id)


def _register(client: mlflow.MlflowClient, record: Record, _: Path | None, __: Ids | None) -> None:
    name, model_id, accuracy, digest = (record[key] for key in ("name", "model", "val_accuracy", "data_digest"))
    version = _version_of(client, name, model_id) or mlflow.register_model(f"models:/{model_id}", name).version
    client.update_model_version(name, version, record["page"])
    for key, value in (("kd.val_accuracy", repr(accuracy)), ("kd.data_digest", digest)):
        client.set_model_version_tag(name, version, key, value)
    present = {"kd.data_digest": digest, "kd.val_accuracy": "-inf"}
    with _unless_away():  # there may be no champion
        present = client.get_model_version_by_alias(name, CHAMPION).tags
    if present.get("kd.data_digest") == digest and accuracy > float(present["kd.val_accuracy"]):
        client.set_registered_model_alias(name, CHAMPION, version)
        log.info("models:/%s@%s is now version %s", name, CHAMPION, version)


def _version_of(client: mlflow.MlflowClient, name: str, model_id: str) -> str | None:
    """Return the registered version of a model; None: there is none yet."""
    found = client.search_model_versions(f"name = '{name}'")
    return next((version.version for version in found if version.source == f"models:/{model_id}"), None)


def _end(client: mlflow.MlflowClient, record: Record, _: Path | None, __: Ids | None) -> None:
    client.set_terminated(record["run"], record["status"], record["at"])


def _describe(client: mlflow.MlflowClient, record: Record, _: Path | None, __: Ids | None) -> None:
    with _unless_away():  # it may be that another user made the experiment
        present = client.get_experiment(record["experiment"]).tags
        room = record["most"] - sum(name.startswith(record["prefix"]) for name in present)
        missing = [item for item in record["views"].items() if item[0] not in present]
        facts = [item for item in record["tags"].items() if not present.get(item[0])]
        for name, value in (*facts, *missing[: max(0, room)]):
            client.set_experiment_tag(record["experiment"], name, value)


@contextmanager
def _unless_away() -> Iterator[None]:
    """Pass over what the store refuses, but not that it could not be reached."""
    try:
        yield
    except MlflowException as error:
        if is_away(error):
            raise


_DO: dict[str, Deed] = {
    "open": _open,
    "reopen": _reopen,
    "batch": _batch,
    "params": _params,
    "inputs": _inputs,
    "file": _file,
    "text": _text,
    "table": _table,
    "model": _model,
    "beside": _beside,
    "delete_models": _delete_models,
    "register": _register,
    "end": _end,
    "describe": _describe,
}
