"""Whether MLflow can be used, before anything is computed: the tracking store, the experiment, the model registry."""

import importlib.util
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from urllib.parse import unquote, urlparse

import mlflow
import sqlalchemy
from filelock import FileLock
from mlflow.entities import Experiment, LifecycleStage
from mlflow.exceptions import MlflowException
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from kd.errors import UserError, reason
from kd.machine.activity import doing
from kd.machine.locks import held, release, wait_for
from kd.machine.paths import exists, open_file
from kd.machine.secrets import masked
from kd.machine.signals import raised_at_once

_SQLITE = "sqlite:///"
_SERVERS = ("http://", "https://")
_HOSTED = ("file:", "databricks", "uc:")
"""Beginnings of addresses that SQLAlchemy does not know."""
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "4", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""For the first question to a server. By default MLflow asks for some four minutes whether a dead one has come back."""
_CONNECT_SECONDS = 5
_STORE = ("tracking store", "MLFLOW_TRACKING_URI")
_REGISTRY = ("model registry", "MLFLOW_REGISTRY_URI")
"""Parts of MLflow that have an address of their own, with the variables that set them."""
_DRIVERS = {"s3": "boto3", "gs": "google.cloud.storage", "wasbs": "azure.storage.blob", "abfss": "azure.storage.filedatalake"}
"""The packages without which MLflow can't write artifacts to such addresses."""
MAX_EXPERIMENT_NAME = 500
MAX_MODEL_NAME = 256
"""Characters of a registered model's name in MLflow's databases."""


def check_registered(register_as: str, *, export: bool) -> None:
    """Refuse to register what is not exported.

    Raises:
        UserError: a name is given, and models are not exported.
    """
    if register_as and not export:
        raise UserError(
            f"{register_as}: a model that is not exported can't be registered; leave out --no-export (export=False)",
            field="register_as",
        )


@doing("asking the tracking store")
def check_ready(register_as: str = "") -> None:
    """Refuse what MLflow would refuse after all trainings; a new sqlite store is not made yet.

    Args:
        register_as: name in the model registry; empty: nothing is registered.

    Raises:
        UserError: the tracking store or the registry does not answer or its driver is missing, the experiment is deleted or
            unknown, its artifacts can't be written, the run that ``MLFLOW_RUN_ID`` names is not there, or the name can't be
            that of a registered model.
    """
    _check_model_name(register_as)
    if len(os.environ.get("MLFLOW_EXPERIMENT_NAME", "")) > MAX_EXPERIMENT_NAME:
        raise UserError(f"the experiment's name has more than {MAX_EXPERIMENT_NAME} characters; give a shorter one")
    uri = tracking_uri()
    _check_address(uri)
    registry = str(mlflow.get_registry_uri()) if register_as else uri
    if registry != uri:
        _check_address(registry, _REGISTRY)
    with short_patience():
        if is_made(uri):
            _check_experiment(uri)
        _check_run(uri)
        if register_as and is_made(registry):
            _check_registry(register_as, uri, registry)


def tracking_uri() -> str:
    """Return the address of the tracking store.

    Of a folder with blanks or letters beyond ASCII MLflow makes the address of its default store with ``%20`` and the like,
    makes a folder of that name, and leaves it to SQLAlchemy's version which of the two the file is in. There the default
    store is set to the file in the present folder, where ``mlflow ui`` looks for it; relative to it where an address can't
    have its name as it is.
    """
    uri = str(mlflow.get_tracking_uri())
    is_set = mlflow.is_tracking_uri_set()  # type: ignore[no-untyped-call] # MLflow's own
    if uri.startswith(_SQLITE) and "%" in uri and not is_set:
        path = Path.cwd() / Path(uri).name
        mlflow.set_tracking_uri(f"{_SQLITE}{path.name if set(str(path)) & set('%?') else path}")
    return str(mlflow.get_tracking_uri())


def sqlite_path(uri: str) -> Path | None:
    """Return the file of an sqlite store; None: the store is of another kind."""
    if not uri.startswith(_SQLITE):
        return None
    with suppress(SQLAlchemyError, ValueError):
        database = make_url(uri).database
        return Path(database).absolute() if database else None
    return None


def connect_patience(address: URL) -> dict[str, int]:
    """Return the arguments with which a database's driver gives up a server that does not answer, unless a user set them."""
    knows_it = address.get_driver_name() in {"psycopg", "psycopg2", "pymysql", "mysqldb"}
    return {"connect_timeout": _CONNECT_SECONDS} if knows_it and "connect_timeout" not in address.query else {}


def is_made(uri: str | None = None) -> bool:
    """Return whether a store, by default the tracking store, is there; a new sqlite store is made with its first run.

    Where another process is making one, its end is waited for: MLflow reads tables that are half made as those of an old
    version, makes the rest too, and one of the two fails.
    """
    path = sqlite_path(uri or tracking_uri())
    if path is None:
        return True
    if not path.exists():
        return False
    lock = _tables_lock(path)
    if Path(lock.lock_file).exists():
        with suppress(OSError):  # where nothing can be written, nothing is made
            wait_for(lock)
            release(lock)
    return True


@doing("making the tables of a new tracking store")
def make_tables() -> None:
    """Make the tables of a new sqlite store, one process at a time: of two at once, one would fail.

    Raises:
        UserError: the store is in a folder that can't be written to, which MLflow would retry for minutes.
    """
    uri = tracking_uri()
    path = sqlite_path(uri)
    if path is None:
        return
    _check_address(uri)
    lock = _tables_lock(path)
    if path.exists() and path.stat().st_size and not Path(lock.lock_file).exists():
        return
    wait_for(lock)
    with held(lock), suppress(MlflowException, SQLAlchemyError):
        mlflow.MlflowClient(uri).search_experiments(max_results=1)


def _tables_lock(path: Path) -> FileLock:
    """Return the lock of whoever makes the tables of an sqlite store."""
    return FileLock(f"{path}.lock")


def unusable(error: Exception, uri: str | None = None, part: tuple[str, str] = _STORE) -> UserError:
    """Return the error that tells why a part of MLflow, the tracking store unless another is named, can't be used."""
    uri = uri or tracking_uri()
    name, variable = part
    return UserError(f"{name} {_shown(uri)} can't be used ({masked(reason(error))}); set {variable}")


def _shown(uri: str) -> str:
    path = sqlite_path(uri)
    return masked(uri) if path is None else f"{_SQLITE}{path}"


@contextmanager
def short_patience() -> Iterator[None]:
    """Ask servers for some seconds only, and let Ctrl-C end that at once; what a user has set for MLflow holds.

    A database is asked by this process itself: a transaction that is cut in two stays open, and locks it.
    """
    added = [name for name in _PATIENCE if name not in os.environ]
    os.environ.update({name: _PATIENCE[name] for name in added})
    try:
        with raised_at_once() if tracking_uri().startswith(_SERVERS) else nullcontext():
            yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _check_address(uri: str, part: tuple[str, str] = _STORE) -> None:
    """Refuse a store that can't be opened, without MLflow, which would try again for minutes."""
    path = sqlite_path(uri)
    if uri.startswith("sqlite:") and (path is None or path.name == ":memory:"):
        raise unusable(ValueError("what is in memory ends with kd; name a file, as in sqlite:///mlflow.db"), uri, part)
    if path is not None:
        _check_sqlite(uri, path, part)
    elif not uri.startswith(_SERVERS) and "://" in uri and not uri.startswith(_HOSTED):
        try:
            address = make_url(uri)
            engine = sqlalchemy.create_engine(address, connect_args=connect_patience(address))
            with raised_at_once(), engine.connect():
                pass
            engine.dispose()
        except (SQLAlchemyError, ImportError, ValueError, TypeError) as error:
            raise unusable(error, uri, part) from None


def _check_sqlite(uri: str, path: Path, part: tuple[str, str]) -> None:
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise unusable(PermissionError(f"{path.parent} is no folder that can be written to"), uri, part)
    try:
        check_options(make_url(uri))
        if not exists(path):
            return
        open_file(path).close()  # an sqlite that is a pipe would be waited for
        with closing(sqlite3.connect(path)) as database:
            tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
    except (sqlite3.Error, OSError, SQLAlchemyError, ImportError, TypeError, ValueError) as error:
        raise unusable(error, uri, part) from None
    if "studies" in tables and "experiments" not in tables:
        name, variable = part
        raise UserError(f"{name} {_shown(uri)} is a database of Optuna's; set {variable} to another one")


def check_options(address: URL) -> None:
    """Refuse options of an sqlite database that its driver refuses; the file is not touched.

    Raises:
        SQLAlchemyError, TypeError or ValueError: the driver's own.
    """
    engine = sqlalchemy.create_engine(address.set(database=":memory:"))
    with engine.connect():
        pass
    engine.dispose()


def _check_experiment(uri: str) -> None:
    """Refuse an experiment that runs can't be written to."""
    name, number = os.environ.get("MLFLOW_EXPERIMENT_NAME"), os.environ.get("MLFLOW_EXPERIMENT_ID")
    try:
        client = mlflow.MlflowClient()
        client.search_experiments(max_results=1)
    except Exception as error:  # noqa: BLE001 - stores of many makers raise errors of their own
        raise unusable(error, uri) from None
    found = client.get_experiment_by_name(name) if name else _experiment(client, number)
    if found is None:
        return  # MLflow makes it
    if found.lifecycle_stage == LifecycleStage.DELETED:
        raise UserError(
            f"experiment {found.name} is deleted: `mlflow experiments restore --experiment-id {found.experiment_id}` brings it "
            "back; or name another one (--experiment-name, MLFLOW_EXPERIMENT_NAME)"
        )
    _check_artifacts(found)


def _experiment(client: mlflow.MlflowClient, number: str | None) -> Experiment | None:
    """Return the experiment of an id, or the default one, which a store of another kind may lack."""
    try:
        return client.get_experiment(number or "0")
    except MlflowException:
        if number:
            raise UserError(
                f"experiment {number} is not in the tracking store; set MLFLOW_EXPERIMENT_ID to one that is"
            ) from None
        return None


def _check_run(uri: str) -> None:
    """Refuse a run to write to, which ``mlflow run`` names, that is not in the store."""
    number = os.environ.get("MLFLOW_RUN_ID")
    if not number:
        return
    try:
        stage = mlflow.MlflowClient().get_run(number).info.lifecycle_stage if is_made(uri) else ""
    except MlflowException:
        stage = ""
    if stage != LifecycleStage.ACTIVE:
        state = "is deleted" if stage else "is not there"
        raise UserError(
            f"run {number} {state} in tracking store {_shown(uri)}: unset MLFLOW_RUN_ID, or set MLFLOW_TRACKING_URI to the "
            "store that has the run"
        )


def _check_artifacts(experiment: Experiment) -> None:
    """Refuse an experiment whose artifacts have no place that can be written to."""
    location = str(experiment.artifact_location)
    address = urlparse(location)
    told = f"experiment {experiment.name} writes artifacts to {masked(location)}"
    package = _DRIVERS.get(address.scheme)
    if package and not _is_installed(package):
        raise UserError(f"{told}, which needs the package {package}: install it")
    if address.scheme in {"", "file"}:
        folder = Path(unquote(address.path) if address.scheme else location).absolute()
        present = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if not (present.is_dir() and os.access(present, os.W_OK | os.X_OK)):
            raise UserError(
                f"{told}, where {present} can't be written to: allow it, or name a new one (--experiment-name, "
                "MLFLOW_EXPERIMENT_NAME)"
            )


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of a package around it
        return False


def _check_model_name(name: str) -> None:
    if not name:
        return
    if not name.strip() or set(name) & set("/:") or name in {".", ".."}:
        raise UserError(f"{name}: no name of a model in MLflow's registry, which has no / or : in it", field="register_as")
    if len(name) > MAX_MODEL_NAME:
        raise UserError(f"{name}: longer than {MAX_MODEL_NAME} characters; give a shorter name", field="register_as")


def _check_registry(name: str, uri: str, registry: str) -> None:
    """Refuse a name that the registry refuses, and a registry that does not answer."""
    if not is_made(uri):
        if registry.startswith(_HOSTED):
            return
        uri = registry  # a client makes the file of its tracking store
    try:
        mlflow.MlflowClient(uri, registry).get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise UserError(f"{name}: refused by the model registry ({masked(reason(error))})", field="register_as") from None
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise unusable(error, registry, _REGISTRY) from None
    except Exception as error:  # noqa: BLE001 - registries of many makers raise errors of their own
        raise unusable(error, registry, _REGISTRY) from None
