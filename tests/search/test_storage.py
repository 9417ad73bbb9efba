"""The database of a study: what is refused, and what is not shown."""

import sqlite3
from pathlib import Path

import pytest

from kd.config import TuneConfig
from kd.errors import UserError
from kd.search.storage import opened, without_password


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("optuna.log", "expected a database"),
        ("sqlite://", "can't share what is in memory"),
        ("sqlite:///:memory:", "can't share what is in memory"),
        ("sqlite:///no/such/folder/optuna.db", "can't be used"),
        ("postgresql://user:secret@127.0.0.1:1/none", "can't be used"),
        ("journal:///optuna.log", "can't be used"),
    ],
)
def test_a_storage_that_workers_cannot_share_is_refused(url: str, storage: str, message: str) -> None:
    assert url
    with pytest.raises(UserError, match=message) as refused, opened(storage):
        pass
    assert "secret" not in str(refused.value)


def test_mlflows_own_database_is_refused_even_under_another_name(url: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="MLflow's own database"), opened(f"sqlite:///{tmp_path}/mlflow.db"):
        pass
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("create table experiments (id int)")
        connection.execute("create table runs (id int)")
    connection.close()
    with pytest.raises(UserError, match="a database of MLflow's"), opened(f"sqlite:///{tmp_path}/other.db"):
        pass
    assert url


def test_no_password_is_tracked() -> None:
    shown = without_password(TuneConfig.parse({"storage": "postgresql://user:secret@host/studies"}))
    assert "secret" not in str(shown.texts())
    assert "user" in shown.storage
