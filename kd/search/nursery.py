"""A process from which a command's workers are forked off: it has loaded all libraries, and run nothing yet.

A worker with an interpreter of its own would load torch, MLflow and Optuna once more, for 6 s of a core, and so would the
fork server of Python's multiprocessing. The command itself has threads and locks once it has trained: not to be forked then.
"""

import importlib
import multiprocessing
import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from kd.errors import UserError, reason
from kd.machine.signals import STOP_SIGNALS
from kd.search.order import Order

if TYPE_CHECKING:
    from multiprocessing.context import ForkContext, SpawnContext

_LOADED_LATE = ("kd.search.worker", "torch._dynamo", "torch.export._trace", "sqlalchemy.orm")
"""What workers use, and libraries load only when the first optimizer is made, a model loaded or a store opened."""
_HELD_BACK = set(STOP_SIGNALS)
_CAN_HOLD_BACK = hasattr(signal, "pthread_sigmask")
_LOST = -9
"""The exit code told of workers when there is nobody left to tell it."""

_Answer = tuple[Literal["begun", "ended", "failed"], int, str | int]


class Nursery:
    """Starts workers, stops them and tells how they end. They end by themselves when this process, or the nursery, is gone.

    To be entered before anything is computed, and to be used by one thread.
    """

    def __init__(self) -> None:
        forks = _can_fork()
        context = _context(forks=forks)
        self._connection, self._theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(forks, self._theirs, self._connection))
        self._ended: dict[int, int] = {}
        self._is_lost = False

    def __enter__(self) -> Self:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK) if _CAN_HOLD_BACK else set()
        try:
            self._process.start()
        finally:
            self._theirs.close()
            self._let_through(before)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def start(self, order: Order) -> int:
        """Start a worker on an order, and return its process id.

        Raises:
            UserError: there can be no further process.
        """
        with suppress(ConnectionError):
            self._connection.send(order)
        while not self._is_lost:
            answer, pid, told = self._receive()
            if answer == "begun":
                self._ended.pop(pid, None)  # of a process of that number before it
                return pid
            if answer == "failed":
                raise UserError(f"no further worker can be started ({told}); give fewer --workers")
        raise RuntimeError("the process that starts the workers ended")

    def exit_code(self, pid: int) -> int | None:
        """Return how a worker ended: its exit code, below 0 the signal that killed it; None: it lives."""
        while not self._is_lost and self._connection.poll():
            self._receive()
        return self._ended.get(pid, _LOST if self._is_lost else None)

    def terminate(self) -> None:
        """Ask all workers that live to stop, by SIGTERM."""
        with suppress(ConnectionError):
            self._connection.send("terminate")

    def kill(self) -> None:
        """End all workers that live."""
        with suppress(ConnectionError):
            self._connection.send("kill")

    def _receive(self) -> _Answer:
        try:
            answer: _Answer = self._connection.recv()
        except (EOFError, OSError):
            self._is_lost = True
            return "ended", 0, _LOST
        if answer[0] == "ended":
            self._ended[answer[1]] = int(answer[2])
        return answer

    def _let_through(self, before: set[int | signal.Signals]) -> None:
        """Let signals through again, and close the nursery if one came meanwhile."""
        try:
            if _CAN_HOLD_BACK:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        self._connection.close()
        if self._process.pid is not None:
            self._process.kill()
            self._process.join()


def _serve(forks: bool, connection: Connection, other_end: Connection) -> None:  # noqa: FBT001 - a process is given no names
    """Do what is asked over the connection, until it closes: an order is for a new worker, a word for all that there are."""
    other_end.close()  # which would keep this process from learning that the other one is gone
    _be_deaf()
    if forks:
        _load_all()
    workers: dict[int, BaseProcess] = {}
    try:
        while True:
            ready = wait([*workers, connection])
            for sentinel in workers.keys() & set(ready):
                worker = workers.pop(sentinel)
                worker.join()
                connection.send(("ended", worker.pid, worker.exitcode))
            if connection in ready:
                asked = connection.recv()
                if isinstance(asked, Order):
                    connection.send(_start(asked, connection, workers, forks=forks))
                else:
                    for worker in workers.values():
                        getattr(worker, asked)()
    except (EOFError, OSError):  # the other end is gone
        return
    finally:
        for worker in workers.values():
            worker.terminate()


def _be_deaf() -> None:
    """Leave the terminal, and hear no signal: Ctrl-C reaches workers through the command alone, which asks them to stop."""
    if hasattr(os, "setsid"):
        os.setsid()
    if _CAN_HOLD_BACK:
        signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)


def _load_all() -> None:
    for module in _LOADED_LATE:
        with suppress(ImportError):  # loaded here it is only loaded sooner
            importlib.import_module(module)


def _start(order: Order, connection: Connection, workers: dict[int, BaseProcess], *, forks: bool) -> _Answer:
    worker = _context(forks=forks).Process(target=_work, args=(order, connection))
    try:
        worker.start()
    except OSError as error:
        return "failed", 0, reason(error)
    workers[worker.sentinel] = worker
    return "begun", int(worker.pid or 0), ""


def _work(order: Order, connection: Connection) -> None:
    """Be a worker, in a process of its own."""
    from kd.search.worker import work  # noqa: PLC0415 - a nursery that forks nothing need not load it

    connection.close()  # which would keep the command from learning that the nursery is gone
    work(order)


def _can_fork() -> bool:
    """Return whether workers can be forked off: on Linux, from a process without threads and CUDA."""
    torch = sys.modules.get("torch")
    has_cuda = torch is not None and torch.cuda.is_initialized()
    return sys.platform == "linux" and threading.active_count() == 1 and not has_cuda


def _context(*, forks: bool) -> "ForkContext | SpawnContext":
    return multiprocessing.get_context("fork") if forks else multiprocessing.get_context("spawn")
