"""Whether a store answers, found out within seconds and without MLflow, which asks a dead server for minutes."""

import importlib.util
import os
import socket
import sqlite3
import threading
import urllib.error
import urllib.request
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from kd.errors import reason
from kd.machine.secrets import masked

PATIENCE_SECONDS = 2.0
_SQLITE = "sqlite:///"
_PORTS = {"postgresql": 5432, "postgres": 5432, "mysql": 3306, "mssql": 1433, "oracle": 1521}
_DRIVERS = {"postgresql": "psycopg2", "mysql": "MySQLdb"}
"""The packages that SQLAlchemy takes where an address names none."""


@dataclass(frozen=True)
class Reached:
    """What is known of a store."""

    address: str
    """Without secrets."""
    kind: str
    state: str
    """How it answered."""
    wrong: bool


def tracking_address() -> str:
    """Return the address of the tracking store, as MLflow chooses it: from the environment, or in the present folder."""
    set_to = os.environ.get("MLFLOW_TRACKING_URI")
    if set_to:
        return set_to
    old = any(Path("mlruns").glob("*/meta.yaml"))
    return "./mlruns" if old else f"{_SQLITE}{Path.cwd() / 'mlflow.db'}"


def registry_address() -> str:
    """Return the address of the model registry: that of the tracking store unless the environment has another one."""
    return os.environ.get("MLFLOW_REGISTRY_URI") or tracking_address()


def reach(address: str) -> Reached:
    """Ask a store whether it is there, for some seconds at most."""
    found: list[Reached] = []
    thread = threading.Thread(target=lambda: found.append(_reach(address)), daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS + 0.5)  # the look-up of a name has no limit of its own
    return found[0] if found else Reached(masked(address), _kind(address), "does not answer", wrong=True)


def _kind(address: str) -> str:
    return urlsplit(address).scheme.partition("+")[0] or "folder" if "://" in address or ":" in address else "folder"


def _reach(address: str) -> Reached:
    kind = _kind(address)
    try:
        if address.startswith(_SQLITE):
            state, wrong = _sqlite(Path(_database(address)))
        elif kind in {"http", "https"}:
            state, wrong = _server(address)
        elif kind in _PORTS:
            state, wrong = _database_server(address, kind)
        elif kind in {"file", "folder"}:
            state, wrong = "folders of files, which present versions of MLflow refuse", True
        else:
            state, wrong = "not asked", False
    except (OSError, ValueError, sqlite3.Error) as error:
        state, wrong = masked(reason(error)), True
    return Reached(masked(address), kind, state, wrong)


def _database(address: str) -> str:
    path = address.removeprefix(_SQLITE).partition("?")[0]
    return path if Path(path).exists() else unquote(path)


def _sqlite(path: Path) -> tuple[str, bool]:
    if not path.exists():
        if os.access(path.parent, os.W_OK | os.X_OK):
            return "new: the first command makes it", False
        return f"{path.parent} is no folder that can be written to", True
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=1)) as database:
        tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
    if "experiments" not in tables and tables:
        return "a database of something else, not of MLflow", True
    if not os.access(path, os.W_OK):
        return "can't be written to", True
    return f"answers, {size(path.stat().st_size)}", False


def _server(address: str) -> tuple[str, bool]:
    request = urllib.request.Request(f"{_without_user(address).rstrip('/')}/health")  # noqa: S310 - a server's address
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS):  # noqa: S310 - the same
            return "answers", False
    except urllib.error.HTTPError as error:
        return f"answers with {error.code}", error.code not in {401, 403}  # MLflow itself sends name and password
    except urllib.error.URLError as error:
        return masked(reason(error.reason) if isinstance(error.reason, BaseException) else str(error.reason)), True


def _without_user(address: str) -> str:
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _database_server(address: str, kind: str) -> tuple[str, bool]:
    parts = urlsplit(address)
    driver = parts.scheme.partition("+")[2] or _DRIVERS.get(kind, "")
    with socket.create_connection((parts.hostname or "localhost", parts.port or _PORTS[kind]), PATIENCE_SECONDS):
        pass
    with suppress(ModuleNotFoundError):
        if driver and importlib.util.find_spec(driver) is None:
            return f"answers, but its driver {driver} is not installed", True
    return "answers", False


def size(count: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    number, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:  # noqa: PLR2004 - of SI's units
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} {unit}" if unit == "B" or number >= 10 else f"{number:.1f} {unit}"  # noqa: PLR2004 - one digit more
