"""The workers of one command: started, replaced when they die, stopped together."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

from kd.errors import EXIT_BAD_INPUT, EXIT_TERMINATED, RunError, UserError
from kd.search.workers.fork_server import start_process
from kd.search.workers.work_order import WorkOrder
from kd.search.workers.worker import work

STOP_SECONDS = 60.0
LOOK_SECONDS = 0.05
_FORK_SERVER_DIED = 255
"""The exit code that ``multiprocessing`` gives to a process when there is nobody left to tell the real one."""


class WorkerPool:
    """Worker processes, up to so many at a time. Each has a number, which the one that takes its place has again."""

    def __init__(self, size: int, order: Callable[[int], WorkOrder]) -> None:
        self._order = order
        self._workers: dict[int, BaseProcess | None] = dict.fromkeys(range(size))
        """The process of each number."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def alive(self) -> int:
        """Return how many workers live."""
        return sum(process.exitcode is None for process in self._processes())

    def start(self, count: int) -> None:
        """Start so many more workers, as far as there are places.

        Raises:
            UserError: there can be no further process.
        """
        for number in [number for number, process in self._workers.items() if process is None][: max(0, count)]:
            self._workers[number] = start_process(work, self._order(number))

    def reap(self) -> list[int]:
        """Give up the places of workers that ended, and return the numbers of the signals that killed any of them.

        Raises:
            UserError: a worker gave up over bad input, which it told on the terminal.
            RunError: a worker failed over something else, which it told too.
        """
        killed = []
        for number, process in self._workers.items():
            if process is None or process.exitcode is None:
                continue
            self._workers[number] = None
            signal_number = _killed_by(number, process)
            if signal_number:
                killed.append(signal_number)
        return killed

    def stop(self) -> None:
        """Ask all workers to close their trials and runs, wait for them, and kill those that do not end."""
        for process in self._processes():
            process.terminate()
        until = time.monotonic() + STOP_SECONDS
        while self.alive() and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
        for process in self._processes():
            process.kill()
            process.join()
        self._workers = dict.fromkeys(self._workers)

    def _processes(self) -> list[BaseProcess]:
        return [process for process in self._workers.values() if process is not None]


def _killed_by(number: int, process: BaseProcess) -> int:
    """Return the signal that killed a worker; 0: none did.

    Raises:
        UserError: it gave up over bad input.
        RunError: it failed.
    """
    code = process.exitcode or 0
    if code < 0:
        return -code
    if code == EXIT_TERMINATED:
        return signal.SIGTERM
    if code == _FORK_SERVER_DIED and process.pid is not None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)  # it may live still
        return signal.SIGKILL
    if code == EXIT_BAD_INPUT:
        raise UserError(f"worker {number} gave up: see above")
    if code != 0:
        raise RunError(f"worker {number} failed with exit code {code}: see above")
    return 0
