"""Locks between processes, whose files go when they are released.

A process may open the file of a lock just before another one removes it. It then finds that there is no such file, and tries
again. Only if a third one makes the file anew in that instant are there two holders: so what is done under a lock may be done
twice, and has to be written whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from kd.machine.signals import LOOK_SECONDS, sleep


def acquire(lock: FileLock) -> None:
    """Acquire a lock at once.

    Raises:
        filelock.Timeout: another process holds it.
        OSError: there can be no such file.
    """
    lock.acquire(blocking=False)
    while not Path(lock.lock_file).exists():
        lock.release()
        lock.acquire(blocking=False)


def release(lock: FileLock) -> None:
    """Release a lock, and remove its file."""
    with suppress(OSError):  # Windows removes no file that is open
        Path(lock.lock_file).unlink()
    lock.release()


def wait_for(lock: FileLock) -> None:
    """Acquire a lock, however long another process holds it; a stop ends the wait.

    Raises:
        KeyboardInterrupt: as :func:`kd.machine.signals.check_stop`.
        OSError: there can be no such file.
    """
    while True:
        try:
            return acquire(lock)
        except Timeout:
            sleep(LOOK_SECONDS)


@contextmanager
def held(lock: FileLock) -> Iterator[None]:
    """Release a lock that was acquired, at the end of the ``with`` block."""
    try:
        yield
    finally:
        release(lock)
