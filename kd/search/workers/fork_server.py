"""How workers are started: forked off Python's own fork server, which loads all libraries once per command.

A worker with an interpreter of its own would load torch, MLflow and Optuna for about 6 s of a core, and the command itself
can't be forked: it has threads and locks as soon as it has trained. So the fork server is started first of all, and loads
them on one core while the command does the same on another. It reaps the workers and ends with the command, and a worker
learns through a pipe that its command is gone.

What ``multiprocessing`` leaves to be done: the terminal sends Ctrl-C to all processes at once, but workers shall be stopped
by their command alone, which closes their trials. So they are started with those signals blocked. And the server listens at a
socket in the folder for temporary files, whose path may be longer than a socket's address can be.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, TypeVar

from kd.errors import UserError
from kd.machine.signals import STOP_SIGNALS

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext  # neither is there on every platform

_FORKS = sys.platform == "linux"
"""Elsewhere libraries are not made to be forked: each worker has an interpreter of its own."""
_PRELOADED = ["kd.search.workers.preload"]
_CAN_BLOCK = hasattr(signal, "pthread_sigmask")
_LONGEST_ADDRESS = 107
"""Bytes of the longest path that a Unix socket can have on Linux (unix(7): ``sun_path``, less its closing zero)."""
_SOCKET_IN_FOLDER = "/pymp-xxxxxxxx/listener-xxxxxxxx"
"""What ``multiprocessing`` appends to the folder for temporary files."""
_SHORT_FOLDER = "/tmp"  # noqa: S108  # multiprocessing makes a folder of its own in it, which nobody else may open

T = TypeVar("T")


def start_fork_server() -> None:
    """Have a fork server, which loads libraries from now on: to be called before this process loads the same."""
    if _FORKS:
        _context().set_forkserver_preload(_PRELOADED)
        with _signals_blocked(), _room_for_a_socket():
            forkserver.ensure_running()


def start_process(target: Callable[[T], None], argument: T) -> BaseProcess:
    """Start a process that hears no signal of the terminal, and none but SIGKILL until it lets one through.

    Raises:
        UserError: there can be no further process.
    """
    process = _context().Process(target=target, args=(argument,))
    try:
        with _signals_blocked():
            process.start()
    except (OSError, EOFError) as error:
        reason = "the fork server could not fork" if isinstance(error, EOFError) else error
        raise UserError(f"no further worker can be started ({reason}); give fewer workers") from None
    return process


def wait_for_fork_server() -> None:
    """Wait until the fork server has loaded its libraries, and disturbs nothing that is measured: only then does it fork."""
    if _FORKS:
        start_process(_do_nothing, None).join()


def _do_nothing(_: None) -> None:
    pass


def let_through(number: signal.Signals) -> None:
    """Let one of the blocked signals through, in a process that was started here."""
    if _CAN_BLOCK:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block signals for the processes started within: a process inherits which ones are blocked."""
    if not _CAN_BLOCK:
        yield
        return
    resource_tracker.ensure_running()  # which lets signals through when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _room_for_a_socket() -> Iterator[None]:
    """Let temporary files made within lie where a socket's path fits, which holds for the fork server's from then on."""
    before = tempfile.gettempdir()
    if len(os.fsencode(before + _SOCKET_IN_FOLDER)) > _LONGEST_ADDRESS:
        tempfile.tempdir = _SHORT_FOLDER
    try:
        yield
    finally:
        tempfile.tempdir = before


def _context() -> "ForkServerContext | SpawnContext":
    return multiprocessing.get_context("forkserver") if _FORKS else multiprocessing.get_context("spawn")
