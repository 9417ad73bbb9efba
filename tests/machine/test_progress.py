"""The epochs of a training: a bar where one can be seen, one line per epoch elsewhere, nothing where nothing is wanted."""

import io
import logging
import os
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr

import pytest

from kd.errors import UserError
from kd.machine import activity
from kd.machine.activity import counted, in_turn, telling
from kd.machine.output import Verbosity, log_to_terminal, set_verbosity, show_progress
from kd.machine.progress import Progress, bar
from kd.machine.schedule import Planned, Schedule, scheduled

log = logging.getLogger("kd")


@pytest.fixture(autouse=True)
def _own_logger() -> Iterator[None]:
    before = log.handlers[:], log.level, log.propagate
    yield
    set_verbosity(Verbosity.USUAL)
    show_progress("auto")
    log.handlers[:], log.propagate = before[0], before[2]
    log.setLevel(before[1])


def shown(how: str, *, schedule: Schedule | None = None, quiet: bool = False, handler: logging.Handler | None = None) -> str:
    """Return what two epochs show in a program that has no handler for log records, or that one."""
    stream = io.StringIO()
    log.handlers[:], log.propagate = [handler] if handler else [], False  # pytest has some of its own
    log.setLevel(logging.INFO)
    with redirect_stderr(stream):
        show_progress(how)
        if quiet:
            log_to_terminal(Verbosity.QUIET)
        with scheduled(schedule or Schedule([Planned(2, 1.0)])), Progress("teacher", 2) as progress:
            for number in (1, 2):
                progress.update(number, loss=0.5, val_accuracy=0.25, images_per_second=10)
    return stream.getvalue()


def test_lines_have_an_epoch_each_even_where_no_program_set_up_logging() -> None:
    told = "teacher: epoch {}/2: loss 0.500, val accuracy 25.00%, 10 images/s, less than 1 min left"
    assert shown("lines").splitlines() == [told.format(1), told.format(2)]


def test_a_training_among_others_has_its_place() -> None:
    assert "teacher (1 of 3): epoch 1/2" in shown("lines", schedule=Schedule([Planned(2, 1.0)] * 3))


def told_within_epochs(monkeypatch: pytest.MonkeyPatch, nets: int, *, quiet: bool = False) -> list[str]:
    """Return the lines of the first of two epochs, which has four steps per net; each step is followed by some silence."""
    monkeypatch.setattr(activity, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(activity, "SILENCE_SECONDS", 0.05)
    stream = io.StringIO()
    log.handlers[:] = []
    with redirect_stderr(stream):
        log_to_terminal(Verbosity.QUIET if quiet else Verbosity.USUAL)
        with telling(), scheduled(Schedule([Planned(2, 1.0)])), Progress("teacher", 2):
            for _ in in_turn(range(nets)):
                for _ in counted(range(4), 4, lambda: "loss 0.500"):
                    time.sleep(0.2)
    return list(dict.fromkeys(stream.getvalue().splitlines()))


def test_a_long_epoch_tells_its_step_its_loss_and_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = told_within_epochs(monkeypatch, 1)
    assert lines[0] == "teacher: epoch 1/2: step 1 of 4, loss 0.500"
    told = "teacher: epoch 1/2: step {} of 4, loss 0.500, less than 1 min left"
    assert [line for line in lines[1:] if "step" in line] == [told.format(step) for step in (2, 3, 4)]
    assert told_within_epochs(monkeypatch, 1, quiet=True) == []


def test_an_epoch_of_several_nets_tells_which_one_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = told_within_epochs(monkeypatch, 2)
    assert lines[0] == "teacher: epoch 1/2: net 1 of 2, step 1 of 4, loss 0.500"
    assert "teacher: epoch 1/2: net 2 of 2, step 3 of 4, loss 0.500, less than 1 min left" in lines


def test_the_bar_moves_once_per_epoch_of_several_nets() -> None:
    places = []
    with redirect_stderr(io.StringIO()):
        show_progress("bar")
        with Progress("final winner", 2) as progress:
            for _ in in_turn("abc"):
                for _ in counted(range(2), 2):
                    progress._activity.ticked = -1e9
                    places.append(progress._bar.n)
    assert places == pytest.approx([0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6])


def test_a_bar_shows_the_epoch_and_its_figures() -> None:
    text = shown("bar")
    assert "teacher: 100%|" in text
    assert "epoch 2/2, loss 0.500" in text


@pytest.mark.skipif(sys.platform == "win32", reason="no such terminals")
@pytest.mark.parametrize(("columns", "width"), [(0, 80), (40, 39)])
def test_a_bar_is_seen_on_a_terminal_that_reports_no_columns(columns: int, width: int) -> None:
    import fcntl  # noqa: PLC0415 - not on Windows
    import pty  # noqa: PLC0415 - not on Windows
    import termios  # noqa: PLC0415 - not on Windows

    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 0, columns, 0, 0))
    with os.fdopen(terminal, "w", encoding="utf-8") as stream, redirect_stderr(stream):
        show_progress("bar")
        with bar("images", 4, "img") as shown:
            shown.update(2)
            shown.refresh()
    last = os.read(screen, 10_000).decode().strip().split("\r")[-1]
    os.close(screen)
    assert last.startswith("images:  50%|")
    assert len(last) == width


def test_progress_can_be_turned_off() -> None:
    assert shown("off") == ""
    assert shown("auto", quiet=True) == ""


def test_outside_a_terminal_epochs_are_log_records_of_the_program() -> None:
    own = io.StringIO()
    assert shown("auto", handler=logging.StreamHandler(own)) == ""
    assert len(own.getvalue().splitlines()) == 2


def test_another_word_is_refused() -> None:
    with pytest.raises(UserError, match="'loud' shows no progress; choose one of auto, bar, lines, off"):
        show_progress("loud")
