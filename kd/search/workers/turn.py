"""Turns: of two workers that ask an sqlite database for a waiting trial at the same time, Optuna may give both the same one."""

from pathlib import Path

from filelock import FileLock
from sqlalchemy.engine import URL

from kd.machine.locks import release, wait_for


class Turn:
    """The turn to ask a study's database for a trial; a server's databases lock the row, and need none."""

    def __init__(self, database: URL) -> None:
        """Take the address of the database."""
        is_file = database.get_backend_name() == "sqlite"
        self._lock = FileLock(Path(f"{database.database}.turn.lock")) if is_file else None

    def wait(self) -> None:
        """Wait for it, and take it.

        Raises:
            KeyboardInterrupt: as :func:`kd.machine.signals.check_stop`.
        """
        if self._lock is not None:
            wait_for(self._lock)

    def end(self) -> None:
        """Let the next one ask, if that was not done already."""
        if self._lock is not None and self._lock.is_locked:
            release(self._lock)
