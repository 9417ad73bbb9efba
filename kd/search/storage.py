"""The database in which a study is kept: never MLflow's own, never one that workers can't share."""

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from kd.config import TuneConfig
from kd.errors import UserError, reason
from kd.search.experimental import experimental
from kd.tracking import store as tracking

HEARTBEAT_SECONDS = 60
GRACE_SECONDS = 120
"""Without a heartbeat for so long a trial counts as lost: longer than a busy machine stalls, or live trials would be failed."""
LOCKED_SECONDS = 60
"""How long sqlite waits for another process's write."""


@contextmanager
def opened(url: str) -> Iterator[RDBStorage]:
    """Open a database for studies, and close it.

    Raises:
        UserError: it is no database that several processes can share, it is MLflow's, or it can't be used.
    """
    _check_database(url)
    shared = {"connect_args": {"timeout": LOCKED_SECONDS}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with experimental():
        storage = RDBStorage(url, shared, heartbeat_interval=HEARTBEAT_SECONDS, grace_period=GRACE_SECONDS)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _check_database(url: str) -> None:
    try:
        address = make_url(url)
    except ArgumentError:
        raise UserError(
            f"{url}: expected a database such as sqlite:///optuna.db or postgresql://...", field="storage"
        ) from None
    shown = address.render_as_string()
    if address.get_backend_name() == "sqlite" and address.database in {None, "", ":memory:"}:
        raise UserError(
            f"{shown}: workers can't share what is in memory; name a file, as in sqlite:///optuna.db", field="storage"
        )
    if _same_database(address, tracking.tracking_uri()):
        raise UserError(f"{shown}: that is MLflow's own database; give the study another one", field="storage")
    try:
        engine = sqlalchemy.create_engine(address)
        tables = set(sqlalchemy.inspect(engine).get_table_names())
        engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        asked = "is the server up, its driver there, the folder too?"
        raise UserError(f"{shown}: can't be used ({reason(error)}); {asked}", field="storage") from None
    if {"experiments", "runs"} <= tables:
        raise UserError(f"{shown}: that is a database of MLflow's; give the study another one", field="storage")


def _same_database(address: URL, uri: str) -> bool:
    try:
        other = make_url(uri)
    except ArgumentError:
        return False
    return (address.get_backend_name(), address.host, address.port, address.database) == (
        other.get_backend_name(), other.host, other.port, other.database,
    )  # fmt: skip


def without_password(config: TuneConfig) -> TuneConfig:
    """Return a configuration as it may be shown: what is tracked is read by many."""
    return config.model_copy(update={"storage": make_url(config.storage).render_as_string()})
