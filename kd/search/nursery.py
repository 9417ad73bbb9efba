"""A process from which a command's workers are forked off: it has loaded all libraries, and run nothing yet.

A worker with an interpreter of its own would load torch, MLflow and Optuna once more, for 6 s of a core, and so would the
fork server of Python's multiprocessing. The command itself has threads and locks once it has trained: not to be forked then.
"""

import importlib
import multiprocessing
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

from kd.search.worker import Order, work

# Elsewhere forking is not safe, or there is none: each worker loads its libraries itself.
_context = multiprocessing.get_context("fork") if sys.platform == "linux" else multiprocessing.get_context("spawn")

_LOADED_LATE = ("torch._dynamo", "torch.export._trace", "sqlalchemy.orm")
"""What the libraries load when the first optimizer is made, a model is loaded, a store is opened: 3 s for each worker."""
_STOPPING = {signal.SIGINT, signal.SIGTERM}
_CAN_HOLD_BACK = hasattr(signal, "pthread_sigmask")


class Nursery:
    """Starts workers, sends them signals and tells how they end, which they do when the process with the nursery is gone.

    To be made before anything is computed, and to be used by one thread.
    """

    def __init__(self) -> None:
        self._connection, theirs = _context.Pipe()
        self._process = _context.Process(target=_serve, args=(theirs, self._connection))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING) if _CAN_HOLD_BACK else set()
        self._process.start()
        if _CAN_HOLD_BACK:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self._ended: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()
        self._process.join()

    def start(self, order: Order) -> int:
        """Start a worker on an order, and return its process id."""
        self._connection.send(order)
        while True:
            pid, code = self._receive()
            if code is None:
                return pid
            self._ended[pid] = code

    def exit_code(self, pid: int) -> int | None:
        """Return how a worker ended: its exit code, below 0 the signal that killed it; None: it lives."""
        while self._connection.poll():
            ended, code = self._receive()
            if code is not None:
                self._ended[ended] = code
        return self._ended.get(pid)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to all workers that live."""
        with suppress(BrokenPipeError):  # without a nursery they stop by themselves
            self._connection.send(number)

    def _receive(self) -> tuple[int, int | None]:
        try:
            told: tuple[int, int | None] = self._connection.recv()
        except (EOFError, ConnectionError):
            raise RuntimeError("the process that starts the workers was killed") from None
        return told


def _serve(connection: Connection, other_end: Connection) -> None:
    """Do what is asked over the connection: an order is for a new worker, a signal for all that there are."""
    other_end.close()  # which would keep this process from learning that the other one is gone
    _turn_from_the_terminal()
    for module in _LOADED_LATE:
        importlib.import_module(module)
    workers: dict[int, BaseProcess] = {}
    is_open = True
    while is_open or workers:
        ready = wait([*workers, connection] if is_open else [*workers])
        for sentinel in workers.keys() & set(ready):
            worker = workers.pop(sentinel)
            worker.join()
            with suppress(ConnectionError):  # the other end may be gone
                connection.send((worker.pid, worker.exitcode))
        if connection in ready:
            try:
                asked = connection.recv()
            except (EOFError, ConnectionError):
                is_open, asked = False, signal.SIGTERM
            if isinstance(asked, Order):
                worker = _context.Process(target=work, args=(asked,))
                worker.start()
                workers[worker.sentinel] = worker
                with suppress(ConnectionError):
                    connection.send((worker.pid, None))
            else:
                for worker in workers.values():
                    os.kill(int(worker.pid or 0), asked)


def _turn_from_the_terminal() -> None:
    """Be deaf to Ctrl-C, as all workers will be: it reaches them through the command, as SIGTERM."""
    if hasattr(os, "setsid"):
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if _CAN_HOLD_BACK:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
