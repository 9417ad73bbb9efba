"""How much a command says on the terminal: its answer and errors alone, its own lines too, or those of libraries as well."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TextIO

from tqdm import tqdm

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


class _State:
    verbosity = Verbosity.USUAL
    of_libraries: logging.Handler = logging.NullHandler()


def log_to_terminal(verbosity: Verbosity = Verbosity.USUAL) -> None:
    """Send kd's own lines to the terminal, as plain text."""
    log.addHandler(_AboveBars("%(message)s"))
    log.propagate = False
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


def _shows_colours(stream: TextIO) -> bool:
    """Return whether a terminal shows colours; NO_COLOR and FORCE_COLOR, in this order, have the last word."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")
