"""The workers of one command: started, watched, replaced when they die, stopped together."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import torch

from kd import tracking
from kd.errors import EXIT_BAD_INPUT, EXIT_TERMINATED, UserError
from kd.interrupts import is_hurried, uncut
from kd.search.worker import Order

STOP_SECONDS = 60.0
LOOK_SECONDS = 0.05


def threads_each(workers: int) -> int:
    """Return the threads that each of so many workers has: its share of those that this process may have."""
    return max(1, torch.get_num_threads() // workers)


class Crew:
    """Worker processes, each in a process group of its own, so that Ctrl-C reaches them through their parent alone."""

    def __init__(self, size: int, order: Callable[[int], Order]) -> None:
        self._order = order
        self._workers: dict[int, subprocess.Popen[str] | None] = dict.fromkeys(range(size))
        self._spare: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @uncut
    def warm_up(self, count: int) -> None:
        """Start so many processes, as far as there are places: they load their libraries and wait for their orders."""
        threads = threads_each(len(self._workers))
        self._spare += [_process(threads) for _ in range(min(count, len(self._workers)))]

    def at_work(self) -> int:
        """Return how many workers live."""
        return sum(worker is not None and worker.poll() is None for worker in self._workers.values())

    @uncut
    def start(self, count: int) -> None:
        """Start so many more workers, as far as there are places."""
        for number in [number for number, worker in self._workers.items() if worker is None][: max(0, count)]:
            worker = self._spare.pop() if self._spare else _process(threads_each(len(self._workers)))
            self._workers[number] = worker
            if worker.stdin is not None:
                worker.stdin.write(self._order(number).to_json() + "\n")
                worker.stdin.flush()

    @uncut
    def bury(self) -> list[int]:
        """Forget the workers that ended, and return the numbers of the signals that killed any of them.

        Raises:
            UserError: a worker gave up over an error, which it told on the terminal.
        """
        killed = []
        for number, worker in self._workers.items():
            code = None if worker is None else worker.poll()
            if worker is None or code is None:
                continue
            _close(worker)
            self._workers[number] = None
            if code < 0:
                killed.append(-code)
            elif code == EXIT_TERMINATED:
                killed.append(signal.SIGTERM)
            elif code == EXIT_BAD_INPUT:
                raise UserError(f"worker {number} gave up: see above")
            elif code != 0:
                raise RuntimeError(f"worker {number} failed with exit code {code}: see above")
        return killed

    @uncut
    def stop(self) -> None:
        """Ask all workers to close their trials and runs, wait for them, and kill those that do not end.

        A second Ctrl-C waits no longer.
        """
        alive = [*(worker for worker in self._workers.values() if worker is not None), *self._spare]
        for worker in alive:
            worker.send_signal(signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        while any(worker.poll() is None for worker in alive) and time.monotonic() < until and not is_hurried():
            time.sleep(LOOK_SECONDS)
        for worker in alive:
            worker.kill()
            worker.wait()
            _close(worker)
        self._workers, self._spare = dict.fromkeys(self._workers), []


def _process(threads: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MLFLOW_TRACKING_URI": tracking.tracking_uri()}
    environment.pop("MLFLOW_RUN_ID", None)  # a worker's first run would take it for its own
    return subprocess.Popen(
        [sys.executable, "-c", "from kd.search.worker import main; main()"],
        stdin=subprocess.PIPE,
        env=environment,
        text=True,
        start_new_session=True,
    )


def _close(worker: subprocess.Popen[str]) -> None:
    if worker.stdin is not None:
        worker.stdin.close()
