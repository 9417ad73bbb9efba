"""What the program is doing is told where nothing else is said: one line elsewhere, a line that moves on a terminal."""

import io
import logging
import re
import time
from collections.abc import Iterator
from contextlib import redirect_stderr

import pytest

from kd.machine import activity
from kd.machine.activity import Activity, begun, counted, doing, in_turn, telling
from kd.machine.output import Verbosity, log_to_terminal, set_verbosity, show_progress

log = logging.getLogger("kd")

_LOOK_SECONDS, _SILENCE_SECONDS = activity.LOOK_SECONDS, activity.SILENCE_SECONDS  # before a test makes them short


@pytest.fixture(autouse=True)
def _own_logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = log.handlers[:], log.level, log.propagate
    log.handlers[:] = []
    monkeypatch.setattr(activity, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(activity, "SILENCE_SECONDS", 0.1)
    yield
    set_verbosity(Verbosity.USUAL)
    show_progress("auto")
    log.handlers[:], log.propagate = before[0], before[2]
    log.setLevel(before[1])


def told(seconds: float, verbosity: Verbosity = Verbosity.USUAL, how: str = "auto") -> str:
    """Return what is told of two counted items in so many seconds."""
    stream = io.StringIO()
    with redirect_stderr(stream):
        log_to_terminal(verbosity)
        show_progress(how)
        with telling(), doing("reading images"):
            for _ in counted(range(2), 2):
                time.sleep(seconds / 2)
    return stream.getvalue()


def test_each_silence_is_broken_by_what_is_done() -> None:
    lines = told(1.2).splitlines()
    assert lines[0] == "reading images ... 0%"
    assert lines[-1] == "reading images ... 50% (1 s)"
    assert 6 <= len(lines) <= 11  # each 0.1 s, which a busy machine may lengthen


def test_no_silence_lasts_five_seconds() -> None:
    assert _LOOK_SECONDS + _SILENCE_SECONDS < 5


def test_what_ends_soon_is_not_told_nor_is_anything_to_a_quiet_command() -> None:
    assert told(0.02) == ""
    assert told(0.3, Verbosity.QUIET) == ""


def test_a_line_that_was_said_breaks_the_silence() -> None:
    stream = io.StringIO()
    with redirect_stderr(stream):
        log_to_terminal()
        with telling(), doing("training"):
            for _ in range(10):
                time.sleep(0.03)
                log.info("line")
    assert "training" not in stream.getvalue()


def test_a_terminal_has_a_line_that_moves_and_goes() -> None:
    text = told(1.6, how="bar")
    assert "reading images ... 50% 1 s" in text
    assert re.search(r"\r *\r$", text)


def test_a_bar_of_its_own_is_left_alone() -> None:
    stream = io.StringIO()
    with redirect_stderr(stream):
        log_to_terminal()
        show_progress("bar")
        with telling(), doing("decoding", has_bar=True):
            time.sleep(1.2)
    assert stream.getvalue() == ""


def test_the_innermost_activity_counts_and_ticks() -> None:
    shares: list[float] = []
    with begun(Activity("outer")) as outer, begun(Activity("inner", tick=shares.append)) as inner:
        inner.ticked = -1e9
        items = counted("abcd", 4)
        assert [next(items), next(items)] == ["a", "b"]
        assert (inner.done, inner.text(), outer.text()) == (1, " 25%", "")
        assert list(items) == ["c", "d"]
    assert shares == [0.25]  # the other three came within one tick
    assert list(counted("ab", 2)) == ["a", "b"]  # nothing is being done


def test_what_is_counted_within_one_of_several_parts_is_a_share_of_it() -> None:
    shares: list[float] = []
    with begun(Activity("epoch")) as epoch:
        for items in in_turn(["ab", "c", "de"]):
            shares += [epoch.share for _ in counted(items, len(items))]
        list(counted("a", 1))
        assert (epoch.part, epoch.parts) == (0, 1)
    assert shares == pytest.approx([0, 1 / 6, 1 / 3, 2 / 3, 5 / 6])
    assert list(in_turn("ab")) == ["a", "b"]  # nothing is being done


def test_a_part_of_what_has_a_bar_is_shown_by_that_bar() -> None:
    with begun(Activity("epoch", has_bar=True)), doing("predicting"):
        assert activity._stack[-1].has_bar
    with begun(Activity("figures")), doing("predicting"):
        assert not activity._stack[-1].has_bar


def test_an_activity_that_fails_is_over() -> None:
    with pytest.raises(ValueError, match="bad"), doing("failing"):
        raise ValueError("bad")
    with begun(Activity("next")) as following:
        list(counted("a", 1))
    assert following.done == 1


def test_how_long_an_activity_took_is_told_where_all_is_told() -> None:
    stream = io.StringIO()
    with redirect_stderr(stream):
        log_to_terminal(Verbosity.VERBOSE)
        with doing("drawing figures"):
            pass
    assert stream.getvalue() == "drawing figures: 0.0 s\n"
