"""What the program is doing, told where nothing else is said for some seconds.

Long work names itself (``with doing("reading images")``) and counts what it has done (``for item in counted(items, total)``).
The command line looks at both from a thread of its own (:func:`telling`): on a terminal a line below all others moves;
elsewhere a line is written after some seconds of silence, and then more and more rarely. Callers of the library have no such
thread.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

from tqdm import tqdm

from kd.machine.output import Display, display, said_at
from kd.machine.text import printable

log = logging.getLogger("kd")

LOOK_SECONDS = 0.5
SILENCE_SECONDS = 4.0
"""Seconds of silence after which it is told what is being done."""
LONGER = 2
"""The factor by which the next silence is longer: after 4 s come 8 s, then 16 s."""
TICK_SECONDS = 0.2

T = TypeVar("T")


@dataclass(eq=False)
class Activity:
    """Something that takes long, under way."""

    what: str
    has_bar: bool = False
    """Whether it has a progress bar of its own on a terminal."""
    silence: float = SILENCE_SECONDS
    """Seconds of silence after which it is told."""
    tick: Callable[[float], None] | None = None
    """What is told the share that is done, from time to time."""
    done: int = 0
    total: int = 0
    began: float = field(default_factory=time.monotonic)
    ticked: float = 0.0

    def share(self) -> str:
        """Return the share that is done as text; empty: it does not count."""
        return f" {self.done / self.total:.0%}" if self.total else ""


_stack: list[Activity] = []
"""What is being done; the last one is a part of the one before."""


@contextmanager
def doing(what: str, *, has_bar: bool = False) -> Iterator[None]:
    """Name what is done in the ``with`` block, such as ``drawing figures``; its time is logged at level DEBUG."""
    with begun(Activity(printable(what), has_bar)):
        yield


@contextmanager
def begun(activity: Activity) -> Iterator[Activity]:
    """Have an activity under way in the ``with`` block."""
    _stack.append(activity)
    try:
        yield activity
    finally:
        _stack.remove(activity)
        log.debug("%s: %.1f s", activity.what, time.monotonic() - activity.began)


def counted(items: Iterable[T], total: int) -> Iterator[T]:
    """Yield items, and count those that are done, of so many in all, for what is being done."""
    activity = _stack[-1] if _stack else None
    if activity is not None:
        activity.done, activity.total = 0, total
    for item in items:
        yield item
        if activity is not None:
            activity.done += 1
            now = time.monotonic()
            if activity.tick is not None and now - activity.ticked >= TICK_SECONDS:
                activity.ticked = now
                activity.tick(activity.done / max(1, total))
    if activity is not None:
        activity.total = 0


@contextmanager
def telling() -> Iterator[None]:
    """Tell in the ``with`` block what is being done, where nothing is said for some seconds."""
    if display() == Display.OFF:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_tell, args=(ended,), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _tell(ended: threading.Event) -> None:
    line = _Line()
    while not ended.wait(LOOK_SECONDS):
        with suppress(IndexError, OSError, ValueError):  # it has just ended, or the terminal is gone
            activity = _stack[-1]
            if display() == Display.BAR:
                line.show(activity)
            elif time.monotonic() - said_at() >= activity.silence:
                _tell_once(activity)
    line.clear()


def _tell_once(activity: Activity) -> None:
    seconds = time.monotonic() - activity.began
    log.info("%s ...%s%s", activity.what, activity.share(), f" ({seconds:.0f} s)" if seconds > 2 * SILENCE_SECONDS else "")
    activity.silence *= LONGER


class _Line:
    """The line on a terminal that says what is being done."""

    def __init__(self) -> None:
        self._bar: tqdm[NoReturn] | None = None

    def show(self, activity: Activity) -> None:
        """Show an activity, unless it has a bar of its own or has just begun."""
        seconds = time.monotonic() - activity.began
        if activity.has_bar or seconds < 2 * LOOK_SECONDS:
            self.clear()
            return
        if self._bar is None:
            self._bar = tqdm(bar_format="{desc}", leave=False, file=sys.stderr, dynamic_ncols=True)
        self._bar.set_description_str(f"{activity.what} ...{activity.share()} {seconds:.0f} s")

    def clear(self) -> None:
        """Take the line away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
