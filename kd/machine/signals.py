"""Ctrl-C, SIGTERM and SIGHUP: a signal is noted when it comes, and answered where stopping cuts nothing in two.

Python's own Ctrl-C raises between any two instructions: within a query, whose session is then unusable; after a run is
created, before its id is known; in a callback that swallows it. Here a handler only notes that somebody wants the process to
stop. Long work calls :func:`check_stop` where stopping is safe: between steps, batches, figures and polls.

A second Ctrl-C exits at once. SIGTERM and SIGHUP come from programs, which repeat them without a second wish (``mlflow run``
sends SIGTERM after a terminal's Ctrl-C; ``timeout`` and a machine that shuts down send it twice), and which have SIGKILL
where they are in a hurry. So these two never count as a second wish.
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
"""A Ctrl-C that follows this soon is the first one again, passed on by a program between the terminal and this process."""
LOOK_SECONDS = 0.05

T = TypeVar("T")


class _Wish:
    """The wish to stop this process."""

    number = 0
    """The first signal that came; 0: none."""
    is_answered = False
    """Whether :func:`check_stop` has raised: the clean-up that follows is not stopped again."""
    raises = False
    """Whether the handler itself raises."""
    ctrl_c_at = math.inf
    """When the first Ctrl-C came, on the monotonic clock."""


_wish = _Wish()


def end_at_signals() -> None:
    """Let a signal end the process at once, in one line: for the start-up, while there is nothing to clean up."""
    _handle(_end)


def note_signals() -> None:
    """Let signals be noted for :func:`check_stop` from here on; a second Ctrl-C ends the process at once."""
    global _wish  # noqa: PLW0603 - signals are a process's
    _wish = _Wish()
    _handle(_note)


def ask_to_stop(number: int = signal.SIGTERM) -> None:
    """Note the wish to stop, as a signal does. Any thread may call this."""
    _wish.number = _wish.number or number


def is_stopping() -> bool:
    """Return whether a wish to stop was noted. Threads beside the main one ask this, and return early; the main one raises."""
    return _wish.number != 0


def check_stop() -> None:
    """Raise if a wish to stop was noted, but once only: the clean-up that follows is not stopped. For the main thread.

    Raises:
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP.
    """
    if _wish.number and not _wish.is_answered:
        _wish.is_answered = True
        raise KeyboardInterrupt


def stoppable(items: Iterable[T]) -> Iterator[T]:
    """Yield items, and call :func:`check_stop` before each.

    Raises:
        KeyboardInterrupt: as :func:`check_stop`.
    """
    for item in items:
        check_stop()
        yield item


def sleep(seconds: float) -> None:
    """Sleep, but wake up when a signal is noted.

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
    """Let a signal raise at once, wherever it comes: around code of others that waits long and may be cut anywhere.

    Where the signal comes while a destructor or a weak reference's callback runs, Python drops what is raised; it is raised
    again at the end, then.

    Raises:
        KeyboardInterrupt: as :func:`check_stop`.
    """
    check_stop()
    was_answered, told = _wish.is_answered, sys.unraisablehook
    _wish.raises = True
    sys.unraisablehook = lambda dropped: None if dropped.exc_type is KeyboardInterrupt else told(dropped)
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException:
        _wish.is_answered = was_answered
        raise
    else:
        _wish.is_answered = was_answered
    finally:
        _wish.raises = False
        sys.unraisablehook = told
    check_stop()


def exit_code() -> int:
    """Return the code to exit with after a stop, as shells have it: 128 and the number of the first signal."""
    return 128 + (_wish.number or signal.SIGINT)


def leave(message: str, code: int) -> None:
    """End the process at once, with a line.

    Nothing is cleaned up, no thread is waited for, and the interpreter is not taken apart: after an import of torch and MLflow
    that takes seconds, during which no signal is handled.
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
