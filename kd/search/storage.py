"""The database in which a study is kept: never MLflow's own, never one that workers can't share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import sqlalchemy
from alembic.util.exc import CommandError
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from kd.config import TuneConfig
from kd.errors import UserError, reason
from kd.machine.output import is_verbose
from kd.machine.paths import user_path
from kd.machine.secrets import masked, remember
from kd.machine.signals import raised_at_once
from kd.search.experimental import experimental
from kd.tracking.ready import check_options, connect_patience, sqlite_path, tracking_uri

HEARTBEAT_SECONDS = 60
GRACE_SECONDS = 120
"""Without a heartbeat for so long a trial counts as lost: longer than a busy machine stalls, or live trials would be failed."""
_COLUMNS = {
    "studies": {"study_id", "study_name"},
    "trials": {"trial_id", "study_id", "state"},
    "study_user_attributes": {"study_id", "key", "value_json"},
    "trial_user_attributes": {"trial_id", "key", "value_json"},
    "version_info": {"schema_version", "library_version"},
}
"""Tables of Optuna's, with columns that every version of it has made."""
LOCKED_SECONDS = 60
"""How long sqlite waits for another process's write."""


@contextmanager
def opened(url: str) -> Iterator[RDBStorage]:
    """Open a database for studies, and close it.

    Raises:
        UserError: it is no database that several processes can share, it is MLflow's, it is of another version of Optuna, or it
            can't be used.
    """
    address = check_database(url)
    shared = (
        {"connect_args": {"timeout": LOCKED_SECONDS}} if address.get_backend_name() == "sqlite" else {"pool_pre_ping": True}
    )
    optuna.logging.set_verbosity(optuna.logging.INFO if is_verbose() else optuna.logging.ERROR)
    try:
        with experimental():
            storage = RDBStorage(_text(address), shared, heartbeat_interval=HEARTBEAT_SECONDS, grace_period=GRACE_SECONDS)
    except ImportError as error:
        raise _refused(address, f"its driver is missing ({reason(error)}); {_driver(address)}") from None
    except (SQLAlchemyError, TypeError, ValueError, RuntimeError, CommandError) as error:  # the last: alembic's, of a version
        raise _refused(
            address,
            f"Optuna {optuna.__version__} can't use it ({masked(reason(error))}); if another version made it, `optuna storage "
            "upgrade` may convert it, or name a new file",
        ) from None
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def check_database(url: str) -> URL:
    """Return the address of a database for studies, which is reached, and left as it is.

    Raises:
        UserError: it is no database that several processes can share, it is MLflow's, or it can't be used.
    """
    remember(url)  # a driver's message may have its password
    try:
        address = make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise UserError(
            f"{masked(url)}: expected a database such as sqlite:///optuna.db or postgresql://... ({masked(reason(error))})",
            field="storage",
        ) from None
    if address.get_backend_name() == "sqlite":
        if address.database in {None, "", ":memory:"}:
            raise _refused(address, "workers can't share what is in memory; name a file, as in sqlite:///optuna.db")
        address = address.set(database=str(user_path(str(address.database), "storage")))
    if _same_database(address, tracking_uri()):
        raise _refused(address, "that is MLflow's own database; give the study another one")
    if _is_new_file(address):
        return address
    try:
        engine = sqlalchemy.create_engine(address, connect_args=connect_patience(address))
        with raised_at_once():
            found = sqlalchemy.inspect(engine)
            tables = {*found.get_table_names(), *found.get_view_names()}
            foreign = [
                name
                for name, columns in _COLUMNS.items()
                if name in tables and not columns <= {column["name"] for column in found.get_columns(name)}
            ]
        engine.dispose()
    except ImportError as error:
        raise _refused(address, f"its driver is missing ({reason(error)}); {_driver(address)}") from None
    except (SQLAlchemyError, OSError, TypeError, ValueError) as error:
        asked = "name another file" if address.get_backend_name() == "sqlite" else "is the server up?"
        raise _refused(address, f"can't be used ({masked(reason(error))}); {asked}") from None
    if {"experiments", "runs"} <= tables:
        raise _refused(address, "that is a database of MLflow's; give the study another one")
    if foreign:
        raise _refused(address, f"its table {foreign[0]} is not one of Optuna's; give the study another database")
    return address


def _is_new_file(address: URL) -> bool:
    """Return whether a database is a file that is not there yet, but can be; to look into it would make it."""
    if address.get_backend_name() != "sqlite":
        return False
    path = Path(str(address.database))
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise _refused(address, f"can't be used ({path.parent} is no folder that can be written to); name another file")
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise _refused(address, "can't be used (it is no file); name another file")
    try:
        check_options(address)
    except (ImportError, NoSuchModuleError) as error:
        raise _refused(address, f"its driver is missing ({reason(error)}); {_driver(address)}") from None
    except (SQLAlchemyError, TypeError, ValueError) as error:
        why = masked(reason(error))
        raise _refused(address, f"its options can't be used ({why}); leave out what stands after the ?") from None
    return not path.exists()


def _refused(address: URL, why: str) -> UserError:
    is_file = address.get_backend_name() == "sqlite" and address.database
    shown = f"sqlite:///{address.database}" if is_file else masked(_text(address))
    return UserError(f"{shown}: {why}", field="storage")


def _text(address: URL) -> str:
    return address.render_as_string(hide_password=False)


def _driver(address: URL) -> str:
    """Return what to do where the driver of a database is missing."""
    if address.drivername == "postgresql":  # SQLAlchemy's own choice among drivers is psycopg2
        return "`pip install 'psycopg[binary]'`, and begin the address with postgresql+psycopg://"
    if address.drivername == "postgresql+psycopg":
        return "`pip install 'psycopg[binary]'`"
    return "install it, or use sqlite:///optuna.db"


def _same_database(address: URL, uri: str) -> bool:
    """Return whether a database is the tracking store's; files are compared by where they are."""
    path = sqlite_path(uri)
    if path is not None:
        return address.get_backend_name() == "sqlite" and Path(str(address.database)).resolve() == path.resolve()
    try:
        other = make_url(uri)
    except (ArgumentError, ValueError):
        return False
    return (address.get_backend_name(), address.host, address.port, address.database) == (
        other.get_backend_name(), other.host, other.port, other.database,
    )  # fmt: skip


def without_password(config: TuneConfig) -> TuneConfig:
    """Return a configuration as it may be shown: what is tracked is read by many."""
    return config.model_copy(update={"storage": masked(remember(config.storage))})
