"""When Ctrl-C and SIGTERM are heard: by real signals to this process."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from kd.search.interrupts import HeldInterrupts


@pytest.fixture(autouse=True)
def _default_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted_at_work(done: list[str]) -> None:
    with HeldInterrupts() as held:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        done.append("a query")
        held.sleep(60)
        done.append("more than was asked for")


def test_ctrl_c_waits_for_a_safe_moment_and_then_does_not_wait() -> None:
    began, done = time.monotonic(), list[str]()
    with pytest.raises(KeyboardInterrupt):
        interrupted_at_work(done)
    assert done == ["a query"]
    assert time.monotonic() - began < 30
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_came_after_the_last_sleep_is_heard_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), HeldInterrupts():
        os.kill(os.getpid(), signal.SIGINT)


def test_what_a_shell_has_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with HeldInterrupts() as held:
        os.kill(os.getpid(), signal.SIGINT)
        held.sleep(0.01)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
