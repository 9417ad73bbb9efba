"""Ctrl-C, SIGTERM and SIGHUP: a signal is noted when it comes, and answered where stopping cuts nothing in two.

Python's own Ctrl-C raises between any two instructions: within a query, whose session can't be used any more; between a
run's making and the moment at which its id is known; in a callback that swallows it. Here a signal only notes the wish.
Work that takes long calls :func:`check_stop` where stopping is safe: between steps, batches, figures and polls.

A second Ctrl-C exits at once. SIGTERM and SIGHUP are sent by programs, which repeat them for reasons of their own
(``mlflow run`` sends SIGTERM after a terminal's Ctrl-C, ``timeout`` and a machine that shuts down send it twice) and have
SIGKILL for haste: they are never a second wish.
"""

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TypeVar

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Windows has no SIGHUP."""
ECHO_SECONDS = 0.2
"""A Ctrl-C this soon after the first is the same one: from the terminal, and passed on by a program in between."""
LOOK_SECONDS = 0.05

T = TypeVar("T")


class _Wish:
    """The wish to stop, in the one process and its one main thread that Python's signals go to."""

    number = 0
    """The first signal that came; 0: none."""
    is_answered = False
    """Whether it has been raised: what cleans up after that is not stopped again."""
    raises = False
    """Whether a signal is raised where it comes."""
    ctrl_c_at = math.inf
    """When the first Ctrl-C came, on the monotonic clock."""


_wish = _Wish()


def end_at_signals() -> None:
    """Have a signal end the process at once, in one line: while it starts up, and nothing has begun."""
    _handle(_end)


def note_signals() -> None:
    """Have signals noted for :func:`check_stop` from here on; a second Ctrl-C ends the process at once."""
    global _wish  # noqa: PLW0603 - signals are a process's
    _wish = _Wish()
    _handle(_note)


def ask_to_stop(number: int = signal.SIGTERM) -> None:
    """Note the wish to stop, as if a signal had come; from any thread."""
    _wish.number = _wish.number or number


def is_stopping() -> bool:
    """Return whether the wish to stop was noted: for threads that help the main one, which raises."""
    return _wish.number != 0


def check_stop() -> None:
    """Stop here if a signal was noted: once, so that what cleans up after it is left in peace. For the main thread.

    Raises:
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP.
    """
    if _wish.number and not _wish.is_answered:
        _wish.is_answered = True
        raise KeyboardInterrupt


def stoppable(items: Iterable[T]) -> Iterator[T]:
    """Yield items, with a look for a stop before each.

    Raises:
        KeyboardInterrupt: as :func:`check_stop`.
    """
    for item in items:
        check_stop()
        yield item


def sleep(seconds: float) -> None:
    """Sleep, but wake up for a stop.

    Raises:
        KeyboardInterrupt: as :func:`check_stop`.
    """
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        check_stop()
        time.sleep(min(left, LOOK_SECONDS))
    check_stop()


@contextmanager
def raised_at_once() -> Iterator[None]:
    """Have a signal raised wherever it comes: for other people's code that waits long and may be cut anywhere.

    Raises:
        KeyboardInterrupt: as :func:`check_stop`.
    """
    check_stop()
    _wish.raises = True
    try:
        yield
    finally:
        _wish.raises = False


def exit_code() -> int:
    """Return the code to exit with after a stop, as shells have it: 128 and the number of the first signal."""
    return 128 + (_wish.number or signal.SIGINT)


def leave(message: str, code: int) -> None:
    """End the process with a line, whatever it does.

    Nothing is cleaned up, no thread waited for, and no interpreter taken apart: after an import of torch and MLflow that
    takes seconds, in which no signal is heard.
    """
    line = f"\n{message}\n" if sys.stderr.isatty() else f"{message}\n"  # after ^C, or a bar
    with suppress(OSError):  # after SIGHUP the terminal is gone
        os.write(2, line.encode())
    os._exit(code)


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in STOP_SIGNALS:
        # What is ignored is so on purpose, by nohup or by a shell for a job in the background.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> None:
    leave("kd: stopped", 128 + number)


def _note(number: int, _frame: FrameType | None) -> None:
    if number == signal.SIGINT:
        now = time.monotonic()
        if now - _wish.ctrl_c_at > ECHO_SECONDS:
            leave("kd: stopped at once; the next command ends the runs that this one left", 128 + number)
        _wish.ctrl_c_at = min(now, _wish.ctrl_c_at)
    ask_to_stop(number)
    if _wish.raises:
        check_stop()
