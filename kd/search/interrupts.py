"""Ctrl-C and SIGTERM, held back to moments at which nothing is cut in two."""

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

LOOK_SECONDS = 0.1


class HeldInterrupts:
    """Holds Ctrl-C and SIGTERM back until :meth:`sleep`: a query that is cut in two leaves its connection unusable."""

    def __init__(self) -> None:
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._held: int | None = None

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler) and not isinstance(handler, signal.Handlers):  # what is ignored is so on purpose
                self._handlers[number] = handler
                signal.signal(number, self._hold)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if error is None:
            self._let_go()

    def sleep(self, seconds: float) -> None:
        """Sleep, and let go of what was held back: its own handler is called, and may raise."""
        until = time.monotonic() + seconds
        while self._held is None and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
        self._let_go()

    def _hold(self, number: int, _frame: FrameType | None) -> None:
        self._held = number

    def _let_go(self) -> None:
        number, self._held = self._held, None
        if number is not None:
            self._handlers[number](number, None)
