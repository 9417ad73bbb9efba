"""The workers of one command: started, watched, replaced when they die, stopped together."""

import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import torch

from kd.errors import EXIT_BAD_INPUT, EXIT_TERMINATED, UserError
from kd.search.nursery import Nursery
from kd.search.order import Order

STOP_SECONDS = 60.0
LOOK_SECONDS = 0.05


def threads_each(workers: int) -> int:
    """Return the threads that each of so many workers has: its share of those that this process may have."""
    return max(1, torch.get_num_threads() // workers)


class Crew:
    """Worker processes, so many at a time, each with a number that the one that takes its place has again."""

    def __init__(self, size: int, nursery: Nursery, order: Callable[[int], Order]) -> None:
        self._nursery = nursery
        self._order = order
        self._workers: dict[int, int | None] = dict.fromkeys(range(size))
        """The process of each number."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def at_work(self) -> int:
        """Return how many workers live."""
        return sum(pid is not None and self._nursery.exit_code(pid) is None for pid in self._workers.values())

    def start(self, count: int) -> None:
        """Start so many more workers, as far as there are places."""
        for number in [number for number, pid in self._workers.items() if pid is None][: max(0, count)]:
            self._workers[number] = self._nursery.start(self._order(number))

    def bury(self) -> list[int]:
        """Forget the workers that ended, and return the numbers of the signals that killed any of them.

        Raises:
            UserError: a worker gave up over an error, which it told on the terminal.
        """
        killed = []
        for number, pid in self._workers.items():
            code = None if pid is None else self._nursery.exit_code(pid)
            if code is None:
                continue
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

    def stop(self) -> None:
        """Ask all workers to close their trials and runs, wait for them, and kill those that do not end."""
        self._nursery.terminate()
        until = time.monotonic() + STOP_SECONDS
        while self.at_work() and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
        self._nursery.kill()
        while self.at_work():
            time.sleep(LOOK_SECONDS)
        self._workers = dict.fromkeys(self._workers)
