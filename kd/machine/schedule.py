"""The nets that are trained one after the other: which one is trained now, and how long all that is left will take.

Times are measured, net by net. That of a net of which nothing is measured yet follows from its cost beside that of the net
that is trained now.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

BETWEEN_SECONDS = 4.0
"""Between two trainings: scoring, figures, and the model's export; until it is measured."""
_MINUTE = 60
_HOUR = 3600
_STEP = 5
"""Minutes to which a time of more than an hour is rounded."""
_MANY_HOURS = 10


@dataclass(frozen=True)
class Planned:
    """A training to come."""

    epochs: int
    cost: float
    """Of one epoch, in any unit that all share."""
    before: float = 0.0
    """Of what is computed before it, in the same unit."""


class Schedule:
    """The trainings of a command, in their order."""

    def __init__(self, planned: Sequence[Planned]) -> None:
        self._planned = list(planned)
        self._begun = 0
        self._epochs_left = 0
        self._seconds: dict[float, float] = {}
        """Of an epoch of a net, as measured last, by its cost."""
        self._between: list[float] = []
        self._at = 0.0
        """When the last epoch began, or the last training ended."""

    def expect(self, rest: Sequence[Planned]) -> None:
        """Take what is known by now of the trainings that have not begun."""
        self._planned[self._begun :] = rest

    def begin(self, epochs_left: int) -> None:
        """Begin the next training, which may be a resumed one."""
        now = time.monotonic()
        if self._begun:
            self._between.append(now - self._at)
        self._begun += 1
        if self._begun > len(self._planned):
            self._planned.append(Planned(epochs_left, 0.0))
        self._epochs_left = epochs_left
        self._at = now

    def end_epoch(self) -> None:
        """Count an epoch of the training under way, and measure it."""
        now = time.monotonic()
        self._seconds[self._cost()] = now - self._at
        self._epochs_left -= 1
        self._at = now

    def place(self) -> str:
        """Return the place of the training under way among all, ``3 of 9``; empty where there is just one."""
        return f"{self._begun} of {len(self._planned)}" if len(self._planned) > 1 else ""

    def seconds_left(self, share: float = 0.0) -> float | None:
        """Return how long all that is left will take; None: nothing was measured yet.

        Args:
            share: of the epoch under way, which is done, 0..1. Of a net's first epoch it says how long an epoch takes.
        """
        cost = self._cost()
        if cost not in self._seconds and not share:
            return None
        own = self._seconds[cost] if cost in self._seconds else (time.monotonic() - self._at) / share
        between = median(self._between) if self._between else BETWEEN_SECONDS  # the targets are filled in one of them
        rest = self._planned[self._begun :]
        rate = own / cost if cost else 0.0
        others = sum(one.epochs * self._seconds.get(one.cost, rate * one.cost or own) + rate * one.before for one in rest)
        return max(0.0, self._epochs_left - share) * own + others + between * (len(rest) + 1)

    def _cost(self) -> float:
        return self._planned[self._begun - 1].cost


class _State:
    current: Schedule | None = None


@contextmanager
def scheduled(schedule: Schedule) -> Iterator[Schedule]:
    """Have a schedule for the trainings in the ``with`` block."""
    before, _State.current = _State.current, schedule
    try:
        yield schedule
    finally:
        _State.current = before


def current() -> Schedule | None:
    """Return the schedule of the trainings under way; None: there is none."""
    return _State.current


def about(seconds: float) -> str:
    """Return a time to come, as roughly as it is known: ``about 12 min``."""
    if seconds < _MINUTE:
        return "less than 1 min"
    minutes = round(seconds / _MINUTE)
    if minutes < _MINUTE:
        return f"about {minutes} min"
    hours, rest = divmod(_STEP * round(minutes / _STEP), _MINUTE)
    return f"about {hours} h {rest} min" if rest and hours < _MANY_HOURS else f"about {round(seconds / _HOUR)} h"
