"""The one command among those of a study that leads it."""

import threading
import time
import uuid
from contextlib import suppress
from types import TracebackType
from typing import Self

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from kd.machine.processes import is_gone, myself

LEASE = "kd.leader"
LEASE_SECONDS = 120.0
REFRESH_SECONDS = 30.0
SETTLING_SECONDS = 0.5


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
