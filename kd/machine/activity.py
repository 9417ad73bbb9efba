"""What the program is doing, told where nothing else is said for some seconds.

Long work names itself (``with doing("reading images")``) and counts what it has done (``for item in counted(items, total)``).
The command line looks at both from a thread of its own (:func:`telling`): on a terminal a line below all others moves;
elsewhere a line is written after each few seconds of silence. Callers of the library have no such thread.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from kd.machine.output import Bar, Display, display, said_at
from kd.machine.text import printable

log = logging.getLogger("kd")

LOOK_SECONDS = 0.5
SILENCE_SECONDS = 4.0
"""Seconds of silence after which it is told what is being done: with a look more, less than 5 s."""
TICK_SECONDS = 0.2

T = TypeVar("T")


@dataclass(eq=False)
class Activity:
    """Something that takes long, under way."""

    what: str
    has_bar: bool = False
    """Whether it has a progress bar of its own on a terminal."""
    tell: Callable[[], str] | None = None
    """Makes the line that tells it, where it is more than what is done, the share and the time."""
    tick: Callable[[float], None] | None = None
    """What is told the share that is done, from time to time."""
    done: int = 0
    total: int = 0
    figures: Callable[[], str] | None = None
    """Makes the figures of what is counted, such as a loss so far; it is called from another thread."""
    part: int = 0
    parts: int = 1
    """What is counted is one of so many equal parts, the one of this number, from 0."""
    began: float = field(default_factory=time.monotonic)
    ticked: float = 0.0

    @property
    def share(self) -> float:
        """Return the share that is done, 0..1."""
        return (self.part + self.done / max(1, self.total)) / self.parts

    def text(self) -> str:
        """Return the share that is done as text; empty: it does not count."""
        return f" {self.share:.0%}" if self.total else ""

    def line(self) -> str:
        """Return the line that tells it."""
        seconds = time.monotonic() - self.began
        since = f" ({seconds:.0f} s)" if seconds > 2 * SILENCE_SECONDS else ""
        return self.tell() if self.tell else f"{self.what} ...{self.text()}{since}"


_stack: list[Activity] = []
"""What is being done; the last one is a part of the one before."""


@contextmanager
def doing(what: str, *, has_bar: bool = False) -> Iterator[None]:
    """Name what is done in the ``with`` block, such as ``drawing figures``; its time is logged at level DEBUG.

    What is a part of something that has a bar is shown by that bar.
    """
    with begun(Activity(printable(what), has_bar or bool(_stack and _stack[-1].has_bar))):
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


def counted(items: Iterable[T], total: int, figures: Callable[[], str] | None = None, *, done: int = 0) -> Iterator[T]:
    """Yield items, and count those that are done, of so many in all, for what is being done.

    Args:
        items: the items.
        total: how many there are.
        figures: makes what is told beside the count; another thread calls it.
        done: how many were done before.
    """
    activity = _stack[-1] if _stack else None
    if activity is not None:
        activity.done, activity.total, activity.figures = done, total, figures
    for item in items:
        yield item
        if activity is not None:
            activity.done += 1
            now = time.monotonic()
            if activity.tick is not None and now - activity.ticked >= TICK_SECONDS:
                activity.ticked = now
                activity.tick(activity.share)
    if activity is not None:
        activity.total, activity.figures = 0, None


def in_turn(items: Sequence[T]) -> Iterator[T]:
    """Yield items that are equal parts of what is being done: what is counted within each is a share of its part."""
    activity = _stack[-1] if _stack else Activity("")
    try:
        for activity.part, item in enumerate(items):
            activity.parts = len(items)
            yield item
    finally:
        activity.part, activity.parts = 0, 1


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
        with suppress(IndexError, OSError, RuntimeError, ValueError):  # it has just ended, or the terminal is gone
            activity = _stack[-1]
            if display() == Display.BAR:
                line.show(activity)
            elif time.monotonic() - said_at() >= SILENCE_SECONDS:
                log.info("%s", activity.line())
    line.clear()


class _Line:
    """The line on a terminal that says what is being done."""

    def __init__(self) -> None:
        self._bar: Bar | None = None

    def show(self, activity: Activity) -> None:
        """Show an activity, unless it has a bar of its own or has just begun."""
        seconds = time.monotonic() - activity.began
        if activity.has_bar or seconds < 2 * LOOK_SECONDS:
            self.clear()
            return
        if self._bar is None:
            self._bar = Bar(bar_format="{desc}", leave=False, file=sys.stderr, dynamic_ncols=True)
        self._bar.set_description_str(f"{activity.what} ...{activity.text()} {seconds:.0f} s")

    def clear(self) -> None:
        """Take the line away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
