"""Models fetched from the tracking store and the registry: which run is meant, and its files, not one of which is trusted."""

import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run as Entity
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from kd.errors import UserError, reason
from kd.machine.text import listed
from kd.machine.yaml_text import read_yaml
from kd.tracking.earlier import experiments, find_run
from kd.tracking.finished import MAX_FOUND
from kd.tracking.others import REGISTRY, RUNS
from kd.tracking.outbox.delivery import FACTS_DIGEST, OPENED_AS
from kd.tracking.store import MODEL_DIGEST, NOT_EXPORTED, SETTINGS_FILE, quiet

_EARLY_NAME = "model"
"""Name of every model before models were named by what they are."""
_RUN_ID = re.compile("[0-9a-f]{32}")
_SHORT_RUN_ID = re.compile("[0-9a-f]{8,31}")


@dataclass(frozen=True)
class FetchedModel:
    """The files of a model, as they lie in the store: not one of them is trusted."""

    folder: Path
    run_id: str
    """The run that logged it, from the store's database."""
    sha256: str | None
    """Digest that its file must have; None: the model was logged before kd wrote one."""
    facts_sha256: str | None
    """Digest that the file with its facts must have; None: the same."""


def fetch_model(reference: str, folder: Path) -> FetchedModel:
    """Fetch the files of the model of a run (``RUN_ID``) or of the registry (``models:/NAME@ALIAS``); nothing is run.

    A command's parent run stands for the model that the command was run for.

    Raises:
        UserError: there is no such run or model.
    """
    quiet()
    try:
        run_id = _registered_run(reference) if reference.startswith(REGISTRY) else _model_run(reference)
        _check_exported(reference, run_id)
        uri = reference if reference.startswith(REGISTRY) else _logged_model(run_id)
        path = mlflow.artifacts.download_artifacts(uri, dst_path=str(folder))
        tags = mlflow.get_run(run_id).data.tags if run_id else {}
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise UserError(
            f"{reference}: no such run or model ({reason(error)}); `mlflow ui` shows the ids of the finished runs"
        ) from None
    return FetchedModel(Path(path), run_id, tags.get(MODEL_DIGEST), tags.get(FACTS_DIGEST))


def _check_exported(reference: str, run_id: str) -> None:
    """Refuse a run that has the weights of a net alone.

    Raises:
        UserError: it has.
    """
    if run_id and NOT_EXPORTED in mlflow.get_run(run_id).data.tags:
        raise UserError(
            f"{reference}: its model was not exported (--no-export), so it can't be loaded by its run; name another"
        )


def fetch_file(reference: str, folder: Path) -> tuple[Path, str]:
    """Fetch a file of a run (``runs:/RUN_ID/PATH``), or the files of a folder there, and return their place and the run.

    Raises:
        UserError: there is no such run or file.
    """
    quiet()
    run_id = reference.removeprefix(RUNS).partition("/")[0]
    try:
        if not _RUN_ID.fullmatch(run_id):
            raise FileNotFoundError(0, f"{run_id} is no id of a run")
        found = find_run(run_id).info.run_id
        path = mlflow.artifacts.download_artifacts(reference.replace(run_id, found, 1), dst_path=str(folder))
        run_id = found
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise UserError(f"{reference}: no such file of a run ({reason(error)}); give runs:/RUN_ID/PATH") from None
    return Path(path), run_id


def fetch_settings(run_id: str) -> dict[str, Any]:
    """Return the configuration that a run recorded, or the one above it; empty: there is none, or the store has no such run."""
    with suppress(UserError, MlflowException, SQLAlchemyError, OSError, ValueError):
        while _RUN_ID.fullmatch(run_id):
            tags = find_run(run_id).data.tags
            for file in (SETTINGS_FILE, Path(SETTINGS_FILE).name):  # runs of before have it beside the folders
                with tempfile.TemporaryDirectory() as folder, suppress(UserError):
                    path, _ = fetch_file(f"{RUNS}{run_id}/{file}", Path(folder))
                    found = read_yaml(path.read_text(encoding="utf-8"))
                    return found if isinstance(found, dict) else {}
            run_id = str(tags.get("mlflow.parentRunId", ""))
    return {}


def _model_run(reference: str) -> str:
    """Return the run that logged the model of a run: itself, or the one that its tag names.

    Raises:
        UserError: there is no such run, or several, or the tag is no id of a run.
    """
    found = called(reference)
    run_id = str(found.data.tags.get("kd.model_run", found.info.run_id))
    if not _RUN_ID.fullmatch(run_id):
        raise UserError(f"{reference}: its tag kd.model_run is no id of a run; name another run")
    return run_id


def called(reference: str) -> Entity:
    """Return the run that is called so: by its id, the first characters of it, or its name.

    Raises:
        UserError: there is none, or there are several.
    """
    return find_run(reference if _RUN_ID.fullmatch(reference) else _only_run(reference))


def is_called(reference: str) -> bool:
    """Return whether some run has this id, an id that begins so, or this name."""
    return bool(_runs_called(reference))


def _logged_model(run_id: str) -> str:
    """Return the address of the model that a run logged, by its id, whatever its name; of an early run by the name of then."""
    outputs = mlflow.get_run(run_id).outputs
    models = outputs.model_outputs if outputs else []
    return f"{REGISTRY}{models[-1].model_id}" if models else f"runs:/{run_id}/{_EARLY_NAME}"


def _only_run(reference: str) -> str:
    """Return the one run whose id begins with a reference, as names of files end, or whose name it is.

    Raises:
        UserError: there is none, or there are several.
    """
    runs = _runs_called(reference)
    if len(runs) > 1:
        raise UserError(f"{reference}: several runs are called so ({listed(runs)}); give the id of one")
    if runs:
        return runs[0]
    raise UserError(f"{reference}: neither a run, by its id, the first 8 characters of it or its name, nor models:/NAME@ALIAS")


def _runs_called(reference: str) -> list[str]:
    """Return the ids of the runs whose id begins with a reference or, where there are none, whose name it is."""
    quote = '"' if "'" in reference else "'"
    ways = [f"attributes.run_id LIKE '{reference}%'", f"tags.`{OPENED_AS}` LIKE '{reference}%'"]
    ways = ways if _SHORT_RUN_ID.fullmatch(reference) else []
    ways += [] if quote in reference else [f"attributes.run_name = {quote}{reference}{quote}"]
    client = mlflow.MlflowClient()
    all_experiments = experiments()
    for way in ways:
        runs = [str(run.info.run_id) for run in client.search_runs(all_experiments, way, max_results=MAX_FOUND)]
        if runs:
            return runs
    return []


def _registered_run(reference: str) -> str:
    """Return the run that logged a model of the registry; empty where there is none, and then it is not kd's."""
    client, name = mlflow.MlflowClient(), reference.removeprefix(REGISTRY)
    if "@" in name:
        version = client.get_model_version_by_alias(*name.rsplit("@", 1))
    elif "/" in name:
        model, number = name.rsplit("/", 1)
        if number == "latest":
            versions = client.get_latest_versions(model)
            return str(versions[0].run_id or "") if versions else ""
        version = client.get_model_version(model, number)
    else:
        return str(client.get_logged_model(name).source_run_id or "")
    return str(version.run_id or "")
