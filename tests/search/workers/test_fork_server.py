"""Processes forked off Python's fork server: how they end is known, no terminal's signal reaches them, none is left behind."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")

SECONDS = 60  # longest that a test waits for another process

PROGRAM = """
import os, signal, sys, threading, time, warnings

import psutil

from kd.errors import UserError
from kd.search.workers import fork_server as module
from kd.search.workers.fork_server import let_through, start_fork_server, start_process

module._PRELOADED = ["no.such.module"]


def work(code):
    if code:
        sys.exit(code)
    time.sleep(1000)


def stop_when_told(_):
    let_through(signal.SIGTERM)
    time.sleep(1000)


def wait_for(condition):
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def code_of(process):
    wait_for(lambda: process.exitcode is not None)
    return process.exitcode


def is_there(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def server_of(process):
    return psutil.Process(process.pid).ppid()


if __name__ == "__main__":
"""


def run(body: str, folder: Path, **environment: str) -> None:
    """Run lines in a process of its own, in a session of its own."""
    program = folder / "program.py"
    program.write_text(PROGRAM + textwrap.indent(textwrap.dedent(body), "    "))
    subprocess.run(
        [sys.executable, "-W", "error", program],
        timeout=SECONDS,
        check=True,
        start_new_session=True,
        env={**os.environ, **environment},
    )


def test_how_each_process_ended_is_known(tmp_path: Path) -> None:
    run(
        """
        start_fork_server()
        alive, failed, killed, stopped = (start_process(work, 0), start_process(work, 3), start_process(work, 0),
                                          start_process(stop_when_told, 0))
        killed.kill()
        stopped.terminate()
        assert [code_of(process) for process in (failed, killed, stopped)] == [3, -signal.SIGKILL, -signal.SIGTERM]
        assert not psutil.pid_exists(killed.pid)  # reaped
        assert alive.exitcode is None
        alive.kill()
        assert code_of(alive) == -signal.SIGKILL
        """,
        tmp_path,
    )


@pytest.mark.parametrize("length", [74, 75, 76, 77, 200])
def test_a_folder_for_temporary_files_may_have_a_path_longer_than_a_sockets_address(length: int, tmp_path: Path) -> None:
    """multiprocessing adds 32 characters, and a socket's path has 107 at most: from 76 on its own place is too long."""
    with TemporaryDirectory(dir="/tmp") as short:  # pytest's own may be longer than the shortest asked for
        folder = Path(short, "x" * (length - len(short) - 1))
        folder.mkdir()
        run(
            """
            start_fork_server()
            first = start_process(work, 3)
            assert code_of(first) == 3
            second = start_process(stop_when_told, 0)
            os.kill(server_of(second), signal.SIGKILL)
            assert code_of(second) == 255
            os.kill(second.pid, signal.SIGKILL)
            assert code_of(start_process(work, 4)) == 4  # by another server
            """,
            tmp_path,
            TMPDIR=str(folder),
        )
        assert list(folder.iterdir()) == []


def test_signals_to_the_whole_group_leave_it_to_the_command_to_stop_its_workers(tmp_path: Path) -> None:
    run(
        """
        heard = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: heard.append(number))
        start_fork_server()
        before = start_process(work, 0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.killpg(0, number)  # as a terminal does, and a machine that shuts down
        assert heard == [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        warnings.simplefilter("ignore")  # SIGHUP ended multiprocessing's tracker of resources, which starts again
        assert code_of(start_process(work, 4)) == 4
        assert before.exitcode is None
        before.kill()
        """,
        tmp_path,
    )


def test_when_the_server_is_killed_its_processes_count_as_ended_and_another_server_starts_others(tmp_path: Path) -> None:
    run(
        """
        start_fork_server()
        orphan = start_process(work, 0)
        server = server_of(orphan)
        os.kill(server, signal.SIGKILL)
        assert code_of(orphan) == 255
        assert is_there(orphan.pid)
        os.kill(orphan.pid, signal.SIGKILL)
        other = start_process(stop_when_told, 0)
        assert server_of(other) != server
        os.kill(server_of(other), signal.SIGTERM)
        assert code_of(start_process(work, 4)) == 4
        other.terminate()
        assert code_of(other) == -signal.SIGTERM
        """,
        tmp_path,
    )


def test_the_server_ends_with_the_command_even_while_it_loads(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import time\nfrom multiprocessing import forkserver\nfrom kd.search.workers.fork_server import start_fork_server\n"
        "start_fork_server()\nprint(forkserver._forkserver._forkserver_pid, flush=True)\ntime.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        server = psutil.Process(int(command.stdout.readline()))
        wait_for(lambda: "libtorch" in Path(f"/proc/{server.pid}/maps").read_text(), SECONDS)
        command.kill()
        command.wait()
        wait_for(lambda: is_over(server), 1)  # it has 3 s more to load


def is_over(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def test_a_process_for_which_there_is_no_room_is_a_users_error(tmp_path: Path) -> None:
    run(
        """
        start_fork_server()
        alive = start_process(work, 0)
        server = server_of(alive)
        os.kill(server, signal.SIGSTOP)
        threading.Timer(0.5, os.kill, (server, signal.SIGKILL)).start()  # as it ends when it can't fork
        try:
            start_process(work, 0)
        except UserError as error:
            assert "give fewer workers" in str(error)
        else:
            raise AssertionError("nobody was told")
        os.kill(alive.pid, signal.SIGKILL)
        """,
        tmp_path,
    )
