"""How much reaches the terminal: nothing but the answer and errors, kd's own lines, or those of libraries too."""

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import cast

import pytest

from kd.machine.output import Verbosity, in_notebook, log_to_terminal, say_answer, set_verbosity, verbosity

log = logging.getLogger("kd")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Return a terminal that kd's lines go to."""
    root = logging.getLogger()
    before = [(one, one.handlers[:], one.level, one.propagate) for one in (log, root)]
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    monkeypatch.setattr("kd.machine.output.sys.stderr", stream)
    log.handlers[:] = []
    log_to_terminal()
    yield stream
    set_verbosity(Verbosity.USUAL)
    for logger, handlers, level, propagate in before:
        logger.handlers[:], logger.level, logger.propagate = handlers, level, propagate
        logger.setLevel(level)


def speak() -> None:
    log.debug("detail")
    log.info("line")
    log.warning("warning")
    log.error("error")
    logging.getLogger("library").info("of a library")
    say_answer("answer")


@pytest.mark.parametrize(
    ("how_much", "said"),
    [
        (Verbosity.QUIET, ["error", "answer"]),
        (Verbosity.USUAL, ["line", "warning", "error", "answer"]),
        (Verbosity.VERBOSE, ["detail", "line", "warning", "error", "library: of a library", "answer"]),
    ],
)
def test_each_verbosity_says_what_it_should(how_much: Verbosity, said: list[str], terminal: Terminal) -> None:
    with contextlib.redirect_stderr(terminal):  # pytest has put its own one back since the fixture was made
        set_verbosity(how_much)
    assert verbosity() == how_much
    speak()
    assert terminal.getvalue().splitlines() == said


def test_a_quiet_command_shows_no_warning_of_a_library(terminal: Terminal) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        set_verbosity(Verbosity.QUIET)
        warnings.warn("old", UserWarning, stacklevel=1)
    assert terminal.getvalue() == ""


class ZMQInteractiveShell:
    """Named as the shell of a notebook's kernel."""


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ({}, False),  # another thread is importing it
        ({"get_ipython": lambda: None}, False),
        ({"get_ipython": ZMQInteractiveShell}, True),
    ],
)
def test_a_notebook_is_told_from_a_half_imported_ipython(
    module: dict[str, object],
    expected: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", cast("ModuleType", SimpleNamespace(**module)))
    assert in_notebook() == expected


def test_colours_are_for_terminals_that_want_them(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    say_answer("gain", "green")
    say_answer("plain")
    assert terminal.getvalue() == "\x1b[32mgain\x1b[0m\nplain\n"
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    say_answer("loss", "red")
    assert terminal.getvalue().endswith("plain\nloss\n")


def test_colours_can_be_forced_where_there_is_no_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "isatty", lambda: False)
    say_answer("gain", "green")
    monkeypatch.setenv("FORCE_COLOR", "1")
    say_answer("gain", "green")
    assert terminal.getvalue() == "gain\n\x1b[32mgain\x1b[0m\n"
