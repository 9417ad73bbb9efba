"""Which process does what, told so that another process, on this machine or not, can say whether it is gone."""

import os
import platform
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import optuna
import psutil
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

LEASE = "kd.leader"
LEASE_SECONDS = 120.0
REFRESH_SECONDS = 30.0
SETTLING_SECONDS = 0.5


def myself() -> dict[str, Any]:
    """Return what tells this process from every other one, on any machine, now and later."""
    return describe_process(os.getpid())


def describe_process(pid: int) -> dict[str, Any]:
    """Return the same of another process of this machine."""
    return {"machine": _machine(), "pid": pid, "started": _started(pid)}


def is_gone(process: Mapping[str, Any]) -> bool:
    """Return whether a process so described is known to be gone; of one elsewhere that can't be known."""
    if process["machine"] != _machine():
        return False
    pid: int = process["pid"]
    try:
        return _started(pid) != process["started"] or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return True


def _started(pid: int) -> float:
    """Tell when a process began: in ticks since the machine's start where that can be read, which no clock's step moves."""
    if not Path("/proc/self/stat").exists():
        return psutil.Process(pid).create_time()
    return float(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])  # field 22 of proc(5)


def _machine() -> str:
    return f"{platform.node()}/{uuid.getnode():x}"


class Leader:
    """The one command among those of a study that trains the teacher, keeps the tree of runs, and ends the study.

    Who leads is written into the study with the time, and again every half a minute: when a leader dies, another
    command takes its place, at once on the same machine, after two minutes elsewhere.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._id = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._refresh, daemon=True)

    def take_the_lead(self) -> bool:
        """Return whether this command leads from now on: nobody who lives did."""
        if not self.is_vacant():
            return False
        self._write()
        time.sleep(SETTLING_SECONDS)  # another command may do the same: the last one to write leads
        return self._is_mine()

    def is_vacant(self) -> bool:
        """Return whether nobody who lives leads."""
        present = self._study.user_attrs.get(LEASE)
        return not present or time.time() - present["time"] >= LEASE_SECONDS or is_gone(present)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        if self._is_mine():
            self._study.set_user_attr(LEASE, None)

    def _is_mine(self) -> bool:
        return (self._study.user_attrs.get(LEASE) or {}).get("id") == self._id

    def _refresh(self) -> None:
        while not self._stop.wait(REFRESH_SECONDS):
            with suppress(StorageInternalError, SQLAlchemyError):  # it may go better half a minute later
                if self._is_mine():
                    self._write()

    def _write(self) -> None:
        self._study.set_user_attr(LEASE, {**myself(), "id": self._id, "time": time.time()})
