"""The lease: which of the commands that work on a study leads it, and how another one takes over."""

import threading
import time
import uuid
from contextlib import suppress
from types import TracebackType
from typing import Self

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from kd.errors import UserError
from kd.machine.processes import is_gone, myself
from kd.search.attributes import LEADER, study_attribute

LEASE_SECONDS = 120.0
RENEW_SECONDS = 30.0
SETTLING_SECONDS = 0.5


class Lease:
    """The right to lead a study, held by one command at a time.

    The holder writes its name and the time into the study, and again every half minute. When it dies, another command takes
    the lease: at once on the same machine, where it can see that the process is gone; after two minutes elsewhere, by the time
    that the holder wrote or, since a clock may have been set back, by what this command has seen.

    Nothing else at hand carries this across machines: Optuna has no lock and no leader, its heartbeats belong to trials; a
    file lock holds for one machine; locks of PostgreSQL are unknown to sqlite.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._id = uuid.uuid4().hex
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._seen: object = None
        self._seen_since = 0.0
        """What the holder wrote last, and since when it is unchanged (monotonic)."""

    def acquire(self) -> bool:
        """Take the lease if it is free, and return whether this command holds it from now on."""
        if not self.is_free():
            return False
        self._write()
        time.sleep(SETTLING_SECONDS)  # another command may do the same: the last one to write holds it
        return self._is_mine()

    def is_free(self) -> bool:
        """Return whether no living command holds the lease."""
        holder = study_attribute(self._study, LEADER)
        if not holder or is_gone(holder):
            return True
        now = time.monotonic()
        if holder != self._seen:
            self._seen, self._seen_since = holder, now
        return now - self._seen_since >= LEASE_SECONDS or bool(time.time() - holder["time"] >= LEASE_SECONDS)

    def __enter__(self) -> Self:
        """Renew the acquired lease from now on."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Release the lease."""
        self._released.set()
        self._thread.join()
        if self._is_mine():
            self._study.set_user_attr(LEADER, None)

    def _is_mine(self) -> bool:
        return (study_attribute(self._study, LEADER) or {}).get("id") == self._id

    def _renew(self) -> None:
        while not self._released.wait(RENEW_SECONDS):
            with suppress(StorageInternalError, SQLAlchemyError, UserError):  # it may go better half a minute later
                if self._is_mine():
                    self._write()

    def _write(self) -> None:
        self._study.set_user_attr(LEADER, {**myself(), "id": self._id, "time": time.time()})
