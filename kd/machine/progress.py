"""The progress of a training: a bar on a terminal and in a notebook, one line per epoch elsewhere."""

import logging
import sys
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from kd.machine.activity import Activity, begun
from kd.machine.output import Bar, Display, display, in_notebook
from kd.machine.schedule import about, current
from kd.machine.text import printable

log = logging.getLogger("kd")


class Progress:
    """The epochs of one training, shown as they end, with its place among all trainings and the time that all will take."""

    def __init__(self, name: str, epochs: int, done: int = 0) -> None:
        self._epochs = epochs
        self._done = done
        self._schedule = current()
        if self._schedule is not None:
            self._schedule.begin(epochs - done)
        place = self._schedule.place() if self._schedule is not None else ""
        self._name = f"{name} ({place})" if place else name
        self._bar = Bar(
            desc=printable(self._name),
            total=epochs,
            initial=done,
            dynamic_ncols=True,
            file=sys.stdout if in_notebook() else sys.stderr,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
            disable=display() != Display.BAR,
        )
        self._activity = Activity("", has_bar=True, tell=self._tell, tick=self._tick)
        self._describe(done + 1)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(begun(self._activity))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()
        self._bar.close()

    def update(self, number: int, *, loss: float, val_accuracy: float, images_per_second: float) -> None:
        """Show epoch ``number``, from 1; the accuracy is a fraction."""
        self._done = number
        figures = f"loss {loss:.3f}, val accuracy {val_accuracy:.2%}, {images_per_second:.0f} images/s"
        if self._schedule is not None:
            self._schedule.end_epoch()
        left = self._left()
        if self._bar.disable:
            if display() != Display.OFF:
                log.info("%s: epoch %d/%d: %s%s", self._name, number, self._epochs, figures, left)
        else:
            self._bar.n = number
            self._bar.set_postfix_str(f"epoch {number}/{self._epochs}, loss {loss:.3f}, val {val_accuracy:.1%}{left}")
        self._describe(number + 1)

    def _left(self, share: float = 0.0) -> str:
        """Return how long all trainings will take from here on, after a share of the epoch under way."""
        seconds = None if self._schedule is None else self._schedule.seconds_left(share)
        return "" if seconds is None else f", {about(seconds)} left"

    def _describe(self, number: int) -> None:
        self._activity.what = printable(f"{self._name}: epoch {min(number, self._epochs)}/{self._epochs}")

    def _tell(self) -> str:
        """Return the line that tells how far the epoch under way is."""
        doing = self._activity
        if not doing.total:
            return f"{doing.what} ..."
        net = f"net {doing.part + 1} of {doing.parts}, " if doing.parts > 1 else ""
        figures = doing.figures() if doing.figures else ""
        step = f"step {min(doing.done + 1, doing.total)} of {doing.total}"
        return f"{doing.what}: {net}{step}{figures and ', '}{figures}{self._left(doing.share)}"

    def _tick(self, share: float) -> None:
        """Move the bar within an epoch."""
        if not self._bar.disable:
            self._bar.n = min(self._epochs, self._done + share)
            self._bar.refresh()


def bar(what: str, total: int, unit: str, *, shown: bool = True) -> Bar:
    """Return a progress bar, which nobody sees where there is no terminal, or where nothing is to be seen."""
    return Bar(
        desc=what,
        total=total,
        unit=unit,
        dynamic_ncols=True,
        file=sys.stdout if in_notebook() else sys.stderr,
        disable=not shown or display() != Display.BAR,
    )
