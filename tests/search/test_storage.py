"""The database of a study: what is refused, and what is not shown."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kd.config import TuneConfig
from kd.errors import UserError
from kd.search.storage import check_database, opened, without_password


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("optuna.log", "expected a database"),
        ("sqlite://", "can't share what is in memory"),
        ("sqlite:///:memory:", "can't share what is in memory"),
        ("sqlite:///no/such/folder/optuna.db", "can't be used"),
        ("postgresql+psycopg://user:secret@127.0.0.1:1/none", "can't be used .*is the server up"),
        ("postgresql+psycopg://127.0.0.1:1/none?user=bob&password=secret", "can't be used"),
        ("postgresql+psycopg://user:secret@127.0.0.1:5x/none", "expected a database"),
        ("postgresql+psycopg://user:sec@ret/secret@host.invalid/none", "can't be used"),
        ("mssql+pymssql://user:secret@127.0.0.1/none", "its driver is missing .*install it"),
        ("journal:///optuna.log", "can't be used"),
        ("sqlite:///new.db?timeout=abc", r"^sqlite:.*/new.db: its options can't be used \(could not convert .*leave out what"),
        ("sqlite:///new.db?detect_types=abc", "its options can't be used"),
        ("sqlite+aiosqlite:///new.db", "its driver is missing .*install it"),
        ("sqlite+nosuch:///new.db", "its driver is missing .*install it"),
        ("sqlite:////dev/zero", r"can't be used \(it is no file\)"),
        (f"sqlite:///{'x' * 300}", r"can't be used \(File name too long\); give another path"),
    ],
)
def test_a_storage_that_workers_cannot_share_is_refused(url: str, storage: str, message: str) -> None:
    assert url
    with pytest.raises(UserError, match=message) as refused, opened(storage):
        pass
    assert not {"secret", "ret/secret"} & set(re.split(r"[ :@'\"]", str(refused.value)))
    assert "\n" not in str(refused.value)
    assert refused.value.field == "storage"
    assert not Path("new.db").exists()


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


def test_mlflows_own_database_is_refused_before_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/folder/../new.db")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=f"^sqlite:///{tmp_path}/new.db: that is MLflow's own"), opened("sqlite:///new.db"):
        pass
    assert not (tmp_path / "new.db").exists()


def test_a_study_of_another_version_of_optuna_is_told_with_what_converts_it(tmp_path: Path) -> None:
    with opened("sqlite:///optuna.db"):
        pass
    for statement in ("update alembic_version set version_num = 'v9.9.9'", "update version_info set library_version = '9.9.9'"):
        with closing(sqlite3.connect(tmp_path / "optuna.db")) as database, database:
            database.execute(statement)
    with (
        pytest.raises(UserError, match=r"optuna.db: Optuna .* can't use it .*`optuna storage upgrade`"),
        opened("sqlite:///optuna.db"),
    ):
        pass


@pytest.mark.parametrize("table", ["table studies (id int)", "table version_info (x int)", "view trials as select 1 as x"])
def test_a_database_with_a_table_of_another_program_is_left_alone(table: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mine.db")) as database, database:
        database.execute(f"create {table}")
    with pytest.raises(UserError, match=r"its table .* is not one of Optuna's; give the study another database"):
        check_database("sqlite:///mine.db")
    with closing(sqlite3.connect(tmp_path / "mine.db")) as database:
        assert len(database.execute("select * from sqlite_master").fetchall()) == 1


def test_a_storage_may_lie_in_the_home_folder_or_one_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "josé's home"))
    (tmp_path / "josé's home").mkdir()
    with opened("sqlite:///~/my optuna.db"):
        pass
    assert [path.name for path in (tmp_path / "josé's home").iterdir()] == ["my optuna.db"]


@pytest.mark.parametrize("storage", ["postgresql://h:5x/x?user=bob&password=secret", "host=h password=secret", "h:secret@x"])
def test_no_password_is_tracked_of_what_is_no_address(storage: str) -> None:
    assert "secret" not in without_password(TuneConfig.parse({"storage": storage})).storage
