"""What MLflow would refuse after all trainings, or retry for minutes, is refused at the start, in one line."""

import os
import re
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import mlflow
import pytest
from filelock import FileLock

from kd.errors import UserError
from kd.machine.signals import exit_code, note_signals
from kd.tracking import store as tracking
from kd.tracking.ready import check_ready, is_made, sqlite_path

Lay = Callable[..., str]


@pytest.fixture
def client(tmp_path: Path, mlflow_store: Lay, monkeypatch: pytest.MonkeyPatch) -> mlflow.MlflowClient:
    """Return the client of an empty store, which is the one that kd uses."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    return mlflow.MlflowClient()


@pytest.fixture
def _default_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo that kd names the default store where MLflow's name for it is encoded."""
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


def refusal(register_as: str = "") -> str:
    with pytest.raises(UserError) as caught:
        check_ready(register_as)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("_default_store")
@pytest.mark.parametrize("name", ["my dir", "josé", "50% of %41, what?", "a+b", "a#b"])
def test_a_working_folder_of_any_name_holds_the_default_store(
    name: str, tmp_path: Path, mlflow_store: Lay, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    mlflow_store(folder)
    monkeypatch.chdir(folder)
    check_ready("digits")
    with tracking.run("a run", output_dir=folder, tags={}) as run:
        run.log_params({"width": "4"})
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        assert database.execute("select name, status from runs").fetchall() == [("a run", "FINISHED")]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.usefixtures("_default_store")
def test_the_tables_of_a_new_store_leave_neither_a_lock_nor_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my dir"
    folder.mkdir()
    monkeypatch.chdir(folder)
    check_ready()
    assert not list(folder.iterdir())
    with tracking.run("a run", output_dir=folder, tags={}):
        pass
    assert [path.name for path in folder.iterdir()] == ["mlflow.db"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my dir"]


def test_a_store_whose_tables_another_process_makes_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    other, answers = FileLock(f"{path}.lock"), []
    with other:
        path.touch()
        asking = threading.Thread(target=lambda: answers.append(is_made()), daemon=True)
        asking.start()
        asking.join(0.5)
        assert asking.is_alive()
    asking.join(10)
    assert answers == [True]
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_path_that_is_no_sqlite_store_has_no_file() -> None:
    assert sqlite_path("http://127.0.0.1:5000") is None
    assert sqlite_path("sqlite:////a/b.db") == Path("/a/b.db")


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("ftp://me:s3cret@host/x", "ftp://me:***@host/x can't be used ("),
        ("postgresql://me:s3cret@host:54a/x", "postgresql://me:***@host:54a/x can't be used ("),
        ("postgresql+psycopg://me:s3cret@127.0.0.1:1/x", "postgresql+psycopg://me:***@127.0.0.1:1/x can't be used ("),
        ("mysql+nodriver://me:s3cret@host/x", "mysql+nodriver://me:***@host/x can't be used ("),
        (
            "postgresql://h/x?user=bob&password=s3cret&connect_timeout=1",
            "postgresql://h/x?user=bob&password=*** can't be used (",
        ),
        ("http://me:s3cret@127.0.0.1:1", "http://me:***@127.0.0.1:1 can't be used ("),
        ("sqlite://", "sqlite:// can't be used (what is in memory ends with kd"),
        ("sqlite:////no/such/folder/x.db", "sqlite:////no/such/folder/x.db can't be used (/no/such/folder is no folder"),
    ],
    ids=count(),  # pytest keeps a test's name in the environment, from which secrets are learned
)
def test_a_store_that_can_not_be_used_is_told_at_once_without_its_password(
    uri: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    started = time.monotonic()
    message = refusal()
    assert time.monotonic() - started < 20
    assert message.startswith(f"tracking store {told}")
    assert message.endswith("; set MLFLOW_TRACKING_URI")
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("sqlite:///new.db?timeout=abc", "could not convert string to float: 'abc'"),
        ("sqlite:///new.db?detect_types=abc", "invalid literal for int"),
        (f"sqlite:///{'x' * 300}.db", "File name too long"),
        ("sqlite:////dev/zero", "a pipe or a device, and no file"),
    ],
    ids=count(),
)
def test_an_sqlite_store_that_can_not_be_is_refused_before_it_is_made(
    uri: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert f"can't be used ({why}" in refusal()
    assert not Path("new.db").exists()


@pytest.mark.parametrize("store", ["new", "made"])
def test_a_registry_of_its_own_is_asked_before_the_store_is_made(
    store: str, tmp_path: Path, mlflow_store: Lay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path) if store == "made" else "sqlite:///mlflow.db")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_REGISTRY_URI", address)
        check_ready()  # nothing is to be registered
        assert refusal("digits").startswith(f"model registry {address} can't be used (")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "postgresql+psycopg://me:s3cret@127.0.0.1:1/x")
    message = refusal("digits")
    assert message.startswith("model registry postgresql+psycopg://me:***@127.0.0.1:1/x can't be used (")
    assert message.endswith("; set MLFLOW_REGISTRY_URI")
    assert Path("mlflow.db").exists() == (store == "made")


def test_a_run_to_write_to_that_is_not_there_is_told(client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    number = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", number)
    check_ready()
    client.delete_run(number)
    assert refusal().startswith(f"run {number} is deleted in tracking store sqlite:///")
    for name, uri in (("no run", os.environ["MLFLOW_TRACKING_URI"]), (number, "sqlite:///new.db")):
        monkeypatch.setenv("MLFLOW_RUN_ID", name)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert refusal().startswith(f"run {name} is not there in tracking store sqlite:///")
    assert "unset MLFLOW_RUN_ID" in refusal()
    assert not Path("new.db").exists()


def test_a_store_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///:memory:")
    assert "what is in memory ends with kd" in refusal()


def test_a_server_that_takes_the_question_and_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        before = dict(os.environ)
        started = time.monotonic()
        assert "timed out" in refusal().lower()
        assert time.monotonic() - started < 5
    assert dict(os.environ) == before


@pytest.mark.usefixtures("cli")  # which puts the handlers of signals back
@pytest.mark.parametrize("kind", ["http", "postgresql+psycopg"])
def test_ctrl_c_ends_the_first_question_to_a_server_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    note_signals()
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{kind}://127.0.0.1:{server.getsockname()[1]}/x")

        def stop() -> None:
            with server.accept()[0]:
                time.sleep(0.2)
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)  # the server does not answer

        asked = threading.Thread(target=stop)
        asked.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            check_ready()
        assert time.monotonic() - started < 3
        asked.join()
    assert exit_code() == 130


def test_a_file_that_is_no_database_of_mlflows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no database, but long enough to look like one of some kind" * 20)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    assert "file is not a database" in refusal()
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as database, database:
        database.execute("create table studies (id int)")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/optuna.db")
    assert "is a database of Optuna's" in refusal()


def test_a_deleted_experiment_is_told_with_what_brings_it_back(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = client.create_experiment("cats", artifact_location="artifacts")
    for name, value in {"MLFLOW_EXPERIMENT_NAME": "cats", "MLFLOW_EXPERIMENT_ID": number}.items():
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            check_ready()
            client.delete_experiment(number)
            assert refusal().startswith(
                f"experiment cats is deleted: `mlflow experiments restore --experiment-id {number}` brings it back"
            )
            client.restore_experiment(number)
            check_ready()


def test_an_experiment_that_is_not_there_is_made_by_its_name_and_refused_by_its_id(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client is not None
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "new")
        check_ready()
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "x" * 501)
        assert refusal().startswith("the experiment's name has more than 500 characters")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")
    assert refusal().startswith("experiment 77 is not in the tracking store")


@pytest.mark.skipif(find_spec("boto3") is not None, reason="the driver is there")
def test_artifacts_on_s3_need_its_driver(client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.create_experiment("cloud", artifact_location="s3://bucket/artifacts")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "cloud")
    assert "needs the package boto3: install it" in refusal()


def test_artifacts_need_a_place_that_can_be_written_to(
    client: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    client.create_experiment("lost", artifact_location=str(tmp_path / "file" / "artifacts"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "lost")
    assert f"where {tmp_path}/file can't be written to" in refusal()


@pytest.mark.parametrize("name", ["team/digits", "digits:1", " ", "..", "x" * 257])
def test_a_name_that_the_registry_would_refuse_is_refused(name: str, client: mlflow.MlflowClient) -> None:
    with pytest.raises(UserError, match=rf"^{re.escape(name)}: ") as caught:
        check_ready(name)
    assert caught.value.field == "register_as"
    assert not client.search_registered_models()


def test_names_that_the_registry_takes_are_taken(client: mlflow.MlflowClient) -> None:
    client.create_registered_model("old one")
    for name in ("old one", "new one", "chats & chiens, été", "a.b", "x" * 256):
        check_ready(name)
