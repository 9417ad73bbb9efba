"""Waiting for a lock that another process holds."""

from filelock import AcquireReturnProxy, FileLock, Timeout

from kd.machine.signals import LOOK_SECONDS, sleep


def wait_for(lock: FileLock) -> "AcquireReturnProxy[FileLock]":
    """Acquire a lock, however long another process holds it; a stop ends the wait.

    Raises:
        KeyboardInterrupt: as :func:`kd.machine.signals.check_stop`.
        OSError: there can be no such file.
    """
    while True:
        try:
            return lock.acquire(blocking=False)
        except Timeout:
            sleep(LOOK_SECONDS)
