"""Why a command failed, in one line: what can happen is told with what to do, a bug with the file of its traceback."""

import errno
import tempfile
from pathlib import Path

import pytest
import requests
import sqlalchemy
import torch
from mlflow.exceptions import MlflowException

from kd.errors import RunError
from kd.machine.failure import failure_line


@pytest.fixture(autouse=True)
def _temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def wrapped(cause: Exception) -> Exception:
    """Return an error that was raised while another one was handled, as libraries do."""
    error = RuntimeError("unexpected pos 64")
    error.__context__ = cause
    return error


def too_much_memory() -> Exception:
    try:
        torch.empty(2**60, dtype=torch.uint8)
    except RuntimeError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/a.pt"),
            "the disk is full (No space left on device: /x/a.pt): free ",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "/made/a", None, "/mlruns/a"),
            "the disk is full (No space left on device: /mlruns/a): free ",
        ),
        (wrapped(OSError(errno.ENOSPC, "No space left on device")), "the disk is full (No space left on device): free "),
        (
            MlflowException("Some artifacts failed:\n##### File a.pt2 #####\n[Errno 28] No space left on device: '/y/a.pt2'"),
            "the disk is full ([Errno 28] No space left on device: '/y/a.pt2'): free ",
        ),
        (
            sqlalchemy.exc.OperationalError("insert 1", {}, Exception("database or disk is full")),
            "the disk is full ((builtins.Exception) database or disk is full): free ",
        ),
        (MemoryError(), "out of memory (MemoryError): give a smaller batch size"),
        (too_much_memory(), "out of memory ("),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "out of memory (CUDA out of memory. Tried): give"),
        (RuntimeError("can't start new thread"), "no further thread can be started (can't start new thread): free"),
        (MlflowException("Model registry\nis away"), "MLflow's tracking store failed (Model registry): when it can be used"),
        (requests.ConnectionError("to http://me:PW@h"), "MLflow's tracking store failed (to http://me:***@h): when"),
        (sqlalchemy.exc.OperationalError("select 1", {}, Exception("database is locked")), "a database failed ("),
        (
            ModuleNotFoundError("No module named 'boto3'", name="boto3"),
            "a package is missing (No module named 'boto3'): install",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/x\n"), "Permission denied: /x: mend that, and run the same"),
        (RunError("worker 0 failed: see above"), "worker 0 failed: see above"),
    ],
)
def test_what_can_happen_is_one_line_with_what_to_do(error: Exception, expected: str, tmp_path: Path) -> None:
    line = failure_line(error)
    assert line.startswith(expected)
    assert "\n" not in line
    assert not list(tmp_path.iterdir())


def test_a_bug_is_one_line_and_a_file_with_its_traceback_that_nobody_else_can_read(tmp_path: Path) -> None:
    try:
        dict[str, int]()["http://me:PW@h\n"]
    except KeyError as error:
        line = failure_line(error)
    [path] = tmp_path.iterdir()
    assert line == rf"a bug of kd's (KeyError: 'http://me:***@h\n'): please report it with the file {path}"
    text = path.read_text(encoding="utf-8")
    assert "Traceback (most recent call last):" in text
    assert "PW" not in text
    assert path.stat().st_mode & 0o077 == 0


def test_a_bug_is_told_even_where_no_file_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    assert failure_line(KeyError("x")) == "a bug of kd's (KeyError: 'x'); its traceback could not be written to /nowhere"


def test_a_working_folder_that_is_gone_is_told_whatever_fails_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "work").rmdir()
    error = sqlalchemy.exc.OperationalError("insert 1", {}, Exception("attempt to write a readonly database"))
    assert failure_line(error).startswith(
        "the working folder was removed ((builtins.Exception) attempt to write a readonly data"
    )
