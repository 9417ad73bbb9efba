"""The process that workers are forked off: how workers end is told, and nobody is left behind or waited for in vain."""

import subprocess
import sys
import textwrap

import pytest

SECONDS = 60  # longest that a test waits for another process

PROGRAM = """
import os, signal, sys, time, types

worker = types.ModuleType("kd.search.worker")  # the real one trains

def work(order):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if order.number:
        sys.exit(order.number)
    time.sleep(1000)

worker.work = work
sys.modules[worker.__name__] = worker

from kd.errors import UserError
from kd.search import nursery
from kd.search.nursery import Nursery
from kd.search.order import Order

assert nursery._can_fork()
nursery._LOADED_LATE = ("no.such.module",)

def order(number):
    return Order({}, {}, "run", number, True, 1, "")

def code_of(crew, pid):
    until = time.monotonic() + 30
    while crew.exit_code(pid) is None:
        assert time.monotonic() < until, "it does not end"
        time.sleep(0.01)
    return crew.exit_code(pid)

def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

with Nursery() as crew:
    server = crew._process.pid
"""


def run(body: str) -> None:
    """Run lines within a nursery in a process of its own."""
    program = PROGRAM + textwrap.indent(textwrap.dedent(body), "    ") + "\nassert not is_there(server)\n"
    subprocess.run([sys.executable, "-c", program], timeout=SECONDS, check=True)


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")


def test_how_each_worker_ended_is_told() -> None:
    run("""
        fine, bad, killed, stopped = (crew.start(order(number)) for number in (0, 3, 0, 0))
        os.kill(killed, signal.SIGKILL)
        assert (code_of(crew, bad), code_of(crew, killed)) == (3, -signal.SIGKILL)
        assert crew.exit_code(fine) is None
        crew.terminate()
        assert code_of(crew, fine) == code_of(crew, stopped) == -signal.SIGTERM
        last = crew.start(order(0))
        crew.kill()
        assert code_of(crew, last) == -signal.SIGKILL
    """)


def test_signals_to_all_processes_leave_it_to_stop_the_workers() -> None:
    run("""
        lives = crew.start(order(0))
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(server, number)
        assert code_of(crew, crew.start(order(4))) == 4
        assert crew.exit_code(lives) is None
        assert os.getsid(server) == server  # a terminal's Ctrl-C does not reach it
        crew.kill()
        assert code_of(crew, lives) == -signal.SIGKILL
    """)


def test_when_it_is_killed_its_workers_count_as_killed_and_no_other_can_be_started() -> None:
    run("""
        orphan = crew.start(order(0))
        os.kill(server, signal.SIGKILL)
        assert code_of(crew, orphan) == -signal.SIGKILL
        os.kill(orphan, signal.SIGKILL)
        crew.terminate()
        try:
            crew.start(order(0))
        except RuntimeError as error:
            assert "ended" in str(error)
        else:
            raise AssertionError("a worker of nobody's")
    """)


def run_outside(body: str) -> None:
    """Run lines that enter a nursery themselves in a process of its own."""
    program = PROGRAM.partition("with Nursery()")[0] + textwrap.dedent(body)
    subprocess.run([sys.executable, "-c", program], timeout=SECONDS, check=True)


def test_a_signal_while_it_is_made_leaves_none_behind() -> None:
    run_outside("""
        crew = Nursery()
        start = crew._process.start

        def interrupted():
            start()
            os.kill(os.getpid(), signal.SIGINT)

        crew._process.start = interrupted
        try:
            with crew:
                raise AssertionError("the signal was lost")
        except KeyboardInterrupt:
            pass
        assert not is_there(crew._process.pid)
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
    """)


def test_no_room_for_another_process_is_told_and_the_others_live() -> None:
    run_outside("""
        class Full:
            def Process(self, target, args):
                if args[0].number:
                    return nursery.multiprocessing.get_context("fork").Process(target=target, args=args)
                return types.SimpleNamespace(start=self.start)

            def start(self):
                raise OSError(11, "Resource temporarily unavailable")

        crew = Nursery()
        nursery._context = lambda forks: Full()
        with crew:
            try:
                crew.start(order(0))
            except UserError as error:
                assert "Resource temporarily unavailable" in str(error) and "--workers" in str(error)
            else:
                raise AssertionError("it was not told")
            assert code_of(crew, crew.start(order(5))) == 5
    """)
