"""What reaches the terminal: one line per message, whoever writes it, and no secret in it."""

import io
import logging
import threading
import traceback
import warnings
from collections.abc import Iterator

import pytest

from kd.machine.terminal import guard_terminal, shown, shown_traceback


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Return what a logger of a library writes, under the guard."""
    before = logging.getLogRecordFactory(), warnings.formatwarning, threading.excepthook
    guard_terminal()
    stream = io.StringIO()
    handler, logger = logging.StreamHandler(stream), logging.getLogger("library.part")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)
    logging.setLogRecordFactory(before[0])
    warnings.formatwarning, threading.excepthook = before[1:]


def test_a_line_has_no_secret_and_nothing_that_acts_on_a_terminal() -> None:
    assert shown("a\nb \x1b[31m http://me:PW@h") == r"a\nb \x1b[31m http://me:***@h"


def test_records_of_libraries_are_harmless_with_their_arguments_and_tracebacks(log: io.StringIO) -> None:
    try:
        int("at http://me:PW@h")
    except ValueError:
        logging.getLogger("library.part").exception("no %s", "place\nat http://me:PW@h")
    text = log.getvalue()
    assert text.startswith("no place\\nat http://me:***@h\nTraceback")
    assert text.endswith("http://me:***@h'\n")
    assert "PW" not in text


def test_a_warning_is_one_line_without_secrets(log: io.StringIO) -> None:
    assert log.getvalue() == ""
    assert warnings.formatwarning("a\nhttp://me:PW@h", UserWarning, "file", 1) == "UserWarning: a\\nhttp://me:***@h\n"


def test_a_thread_that_fails_is_told_in_one_line(log: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    assert log.getvalue() == ""
    thread = threading.Thread(target=int, args=("http://me:PW@h",), name="pulse")
    thread.start()
    thread.join()
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("pulse failed: ValueError: ")
    assert "PW" not in line


def test_a_traceback_keeps_its_lines_and_loses_its_secrets() -> None:
    error = ValueError("at http://me:PW@h\x1b[31m")
    plain = traceback.format_exception(error)
    assert plain == ["ValueError: at http://me:PW@h\x1b[31m\n"]
    assert shown_traceback(error) == r"ValueError: at http://me:***@h\x1b[31m"
