"""Ctrl-C and SIGTERM, let through at moments at which they cut nothing in two.

Python raises KeyboardInterrupt between any two of its instructions: within a query, whose session can't be used any more;
between a run's making and the moment at which its id is known; while the last interrupt is cleaned up after; in a callback
that swallows it. So a signal looks at the stack first. Where it would cut something it waits, and looks again soon after.
"""

import functools
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import ParamSpec, TypeVar

LOOK_SECONDS = 0.005
LONGEST_SECONDS = 60.0
"""After which a signal is let through all the same: a tracking server that does not answer is asked for minutes."""

_OWN_PACKAGES = {"kd"}
_WHOLE_PACKAGES = {
    *("_frozen_importlib", "importlib"),  # an extension module half loaded can't be loaded again
    *("alembic", "mlflow", "optuna", "sqlalchemy"),
    *("contextlib", "logging", "weakref"),
}
"""Which are never cut while kd's own code has called them."""
_WHOLE_MODULES = {"kd.tracking.store"}
"""Those of kd that are never cut, whatever they call."""
_WHOLE_FUNCTIONS = {"__exit__", "__del__", "uncut_call"}
"""The same."""

_HAS_ALARM = hasattr(signal, "setitimer")  # Windows has none: there a signal is let through at once

P = ParamSpec("P")
T = TypeVar("T")


class Terminated(KeyboardInterrupt):
    """SIGTERM: the runs under way end as KILLED, as after Ctrl-C."""


@dataclass
class _Asked:
    number: int = 0
    """The signal that waits; 0: none."""
    since: float = 0.0
    first: int = 0
    """The first signal that came; 0: none."""
    again: bool = False


_asked = _Asked()


@contextmanager
def heard() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM through at good moments from here on; afterwards, at the process's end, they end it at once.

    Raises:
        KeyboardInterrupt: Ctrl-C.
        Terminated: SIGTERM.
    """
    _asked.number, _asked.first, _asked.again = 0, 0, False
    # What is ignored is so on purpose, by nohup or by a shell for a job in the background.
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    alarm = signal.signal(signal.SIGALRM, _look_again) if _HAS_ALARM else None
    for number in numbers:
        signal.signal(number, _hear)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        if _HAS_ALARM:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)


def is_hurried() -> bool:
    """Return whether the same signal came a second time: what takes its time to stop need not."""
    return _asked.again


def uncut(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function one that no signal cuts in two."""

    @functools.wraps(function)
    def uncut_call(*args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    return uncut_call


def _hear(number: int, frame: FrameType | None) -> None:
    # mlflow run sends SIGTERM after a terminal's Ctrl-C: that is no second wish.
    _asked.again = _asked.again or number == _asked.first
    _asked.first = _asked.first or number
    if not _asked.number:
        _asked.number, _asked.since = number, time.monotonic()
    _look(frame)


def _look_again(_number: int, frame: FrameType | None) -> None:
    if _asked.number:
        _look(frame)


def _look(frame: FrameType | None) -> None:
    """Raise what was asked for, or look again soon."""
    waits = time.monotonic() - _asked.since < LONGEST_SECONDS and (_is_stopping() or _would_cut(frame))
    if waits and _HAS_ALARM:
        # Again and again: an alarm that another thread gets does not wake this one out of a system call.
        signal.setitimer(signal.ITIMER_REAL, LOOK_SECONDS, LOOK_SECONDS)
        return
    if _HAS_ALARM:
        signal.setitimer(signal.ITIMER_REAL, 0)
    number, _asked.number = _asked.number, 0
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _is_stopping() -> bool:
    """Return whether an interrupt is being cleaned up after."""
    error = sys.exception()
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _would_cut(frame: FrameType | None) -> bool:
    called_by_kd = True
    while frame is not None:
        module: str = frame.f_globals.get("__name__", "")
        package = module.partition(".")[0]
        if frame.f_code.co_name in _WHOLE_FUNCTIONS or module in _WHOLE_MODULES:
            return True
        if called_by_kd and package in _WHOLE_PACKAGES:
            return True
        called_by_kd = called_by_kd and package not in _OWN_PACKAGES
        frame = frame.f_back
    return False
