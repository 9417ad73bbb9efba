"""Whether a store answers, told within seconds, for real files, real sockets and a real server."""

import http.server
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import mlflow
import pytest

from kd.tracking.reach import reach, registry_address, size, tracking_address


class Health(http.server.BaseHTTPRequestHandler):
    """Answers as MLflow's server does when it is asked for its health."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    with http.server.HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_store_that_is_there_answers(tmp_path: Path, mlflow_store: Callable[..., str]) -> None:
    found = reach(mlflow_store(tmp_path))
    assert (found.kind, found.wrong) == ("sqlite", False)
    assert found.state.startswith("answers, ")


def test_a_store_that_is_not_there_yet_is_fine_where_it_can_be_made(tmp_path: Path) -> None:
    assert reach(f"sqlite:///{tmp_path}/mlflow.db").state == "new: the first command makes it"
    found = reach(f"sqlite:///{tmp_path}/absent/mlflow.db")
    assert found.wrong
    assert found.state == f"{tmp_path}/absent is no folder that can be written to"


def test_another_file_is_no_store(tmp_path: Path) -> None:
    other, text = tmp_path / "optuna.db", tmp_path / "text.db"
    with closing(sqlite3.connect(other)) as database:
        database.execute("create table studies (id integer)")
    text.write_text("no database " * 100)
    assert reach(f"sqlite:///{other}").wrong
    assert "not a database" in reach(f"sqlite:///{text}").state


def test_a_server_answers_and_its_password_is_not_shown(server: str) -> None:
    found = reach(f"http://me:s3cret@{server}")
    assert (found.address, found.state, found.wrong) == (f"http://me:***@{server}", "answers", False)
    other = reach(f"http://{server}/other")
    assert (other.state, other.wrong) == ("answers with 404", True)


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_port_at_which_nobody_listens_is_told(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = reach(f"{scheme}://127.0.0.1:{free.getsockname()[1]}/db")
    assert (found.kind, found.wrong) == (scheme, True)
    assert "refused" in found.state.lower()


def test_a_server_that_never_answers_is_given_up_within_three_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        found = reach(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert found.wrong
    assert time.monotonic() - began < 4


def test_a_database_whose_driver_is_missing_is_told() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        found = reach(f"postgresql+nodriver://127.0.0.1:{listening.getsockname()[1]}/db")
    assert found.state == "answers, but its driver nodriver is not installed"


def test_the_address_is_the_one_that_mlflow_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_address() == mlflow.get_tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://h")
    assert tracking_address() == registry_address() == "http://h"
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://r")
    assert registry_address() == "http://r"


def test_sizes_have_the_unit_that_suits_them() -> None:
    assert [size(count) for count in (0, 999, 1500, 12_345, 71 * 10**9)] == ["0 B", "999 B", "1.5 kB", "12 kB", "71 GB"]
