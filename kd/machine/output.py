"""How much a command says on the terminal: its answer and errors alone, its own lines too, or those of libraries as well."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum, StrEnum
from typing import TextIO

from tqdm import tqdm

from kd.errors import UserError

log = logging.getLogger("kd")
_answer = logging.getLogger("kd.answer")

_ESCAPE_CODES = {"red": 31, "green": 32, "yellow": 33}
_COLOUR = "kd_colour"
"""The attribute of a log record that has a colour."""


class Verbosity(IntEnum):
    """How much is said."""

    QUIET = 0
    """The answer and errors."""
    USUAL = 1
    VERBOSE = 2
    """Also what libraries log, and how long each part took."""


class Display(StrEnum):
    """How progress is shown."""

    BAR = "bar"
    LINES = "lines"
    """One line per epoch."""
    OFF = "off"


COLUMNS = 80
"""Columns of a terminal that reports none."""


class Bar(tqdm):  # type: ignore[type-arg] # of nothing
    """A progress bar, which is seen on a terminal that reports no columns too, as some of containers and editors do."""

    @property
    def ncols(self) -> int | None:
        """Return the columns that a bar may take."""
        return self._ncols if self._ncols is None or self._ncols > 0 else COLUMNS

    @ncols.setter
    def ncols(self, columns: int | None) -> None:
        self._ncols = columns

    @property
    def nrows(self) -> int | None:
        """Return the rows of the terminal; None: nobody knows."""
        return self._nrows if self._nrows is None or self._nrows > 0 else None

    @nrows.setter
    def nrows(self, rows: int | None) -> None:
        self._nrows = rows


class _State:
    verbosity = Verbosity.USUAL
    display: Display | None = None
    """As a user wants it; None: as it suits the place."""
    of_libraries: logging.Handler = logging.NullHandler()
    said_at = 0.0


def log_to_terminal(verbosity: Verbosity = Verbosity.USUAL) -> None:
    """Send kd's own lines to the terminal, as plain text."""
    log.addHandler(_AboveBars("%(message)s"))
    log.propagate = False
    _State.said_at = time.monotonic()
    set_verbosity(verbosity)


def set_verbosity(verbosity: Verbosity) -> None:
    """Say so much from here on."""
    _State.verbosity = verbosity
    log.setLevel({Verbosity.QUIET: logging.ERROR, Verbosity.USUAL: logging.INFO, Verbosity.VERBOSE: logging.DEBUG}[verbosity])
    _answer.setLevel(logging.INFO)
    logging.captureWarnings(verbosity == Verbosity.QUIET)  # by a logger that nobody hears
    root = logging.getLogger()
    root.removeHandler(_State.of_libraries)
    if verbosity == Verbosity.VERBOSE:
        _State.of_libraries = _AboveBars("%(name)s: %(message)s")
        root.addHandler(_State.of_libraries)
        root.setLevel(logging.INFO)


def verbosity() -> Verbosity:
    """Return how much is said."""
    return _State.verbosity


def is_verbose() -> bool:
    """Return whether libraries may log as they like."""
    return _State.verbosity == Verbosity.VERBOSE


def said_at() -> float:
    """Return when the last line was said, on the monotonic clock."""
    return _State.said_at


def display() -> Display:
    """Return how progress is shown: a bar on a terminal and in a notebook, else one line per epoch."""
    if _State.verbosity == Verbosity.QUIET:
        return Display.OFF
    if _State.display is not None:
        return _State.display
    return Display.BAR if in_notebook() or sys.stderr.isatty() else Display.LINES


def show_progress(how: str = "auto") -> None:
    """Choose how ``kd.train``, ``kd.distil`` and all other long work show how far they are.

    Args:
        how: ``bar``; ``lines``: one line per epoch, on standard error unless the logger ``kd`` has handlers; ``off``: nothing;
            ``auto``, which holds until something else is chosen: a bar on a terminal and in a notebook, elsewhere a record per
            epoch for the logger ``kd``, at level INFO, which is seen where a program shows such records.

    Raises:
        UserError: it is none of these.
    """
    if how not in {"auto", *Display}:
        raise UserError(f"{how!r} shows no progress; choose one of auto, {', '.join(Display)}", field="how")
    _State.display = None if how == "auto" else Display(how)
    if how == "lines" and not log.hasHandlers():
        log_to_terminal()


def in_notebook() -> bool:
    """Return whether this process works for a notebook, which shows bars although it is no terminal."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)  # missing while another thread imports it
    return get_shell is not None and type(get_shell()).__name__ == "ZMQInteractiveShell"


def say_answer(text: str, colour: str = "") -> None:
    """Say a line of a command's answer, however quiet the command is.

    Args:
        text: the line.
        colour: red, green or yellow, where the terminal shows colours; empty: the terminal's own.
    """
    _answer.info("%s", text, extra={_COLOUR: colour})


@contextmanager
def said_already() -> Iterator[None]:
    """Log errors alone: what this process would say, another one has said."""
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


class _AboveBars(logging.StreamHandler):  # type: ignore[type-arg] # of text
    """Writes lines to the terminal, above the progress bars, which are drawn again below."""

    def __init__(self, form: str) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter(form))

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's text, in its colour if it has one; those of users have no escape codes, which are shown as text."""
        text = super().format(record)
        code = _ESCAPE_CODES.get(getattr(record, _COLOUR, ""))
        return f"\x1b[{code}m{text}\x1b[0m" if code and _shows_colours(self.stream) else text

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)
        _State.said_at = time.monotonic()


def _shows_colours(stream: TextIO) -> bool:
    """Return whether a terminal shows colours; NO_COLOR and FORCE_COLOR, in this order, have the last word."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")
