"""The pool of a command's workers, with workers that do nothing: how many there are, and how their ends are told."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")

SECONDS = 120  # longest that a test waits for another process

PROGRAM = """
import signal, sys, time

import psutil

from kd.errors import RunError, UserError
from kd.search.workers import fork_server as fork_server_module
from kd.search.workers.fork_server import let_through, start_fork_server


def work(order):
    number, code = order
    if code < 0:
        signal.raise_signal(-code)
    if code:
        sys.exit(code)
    let_through(signal.SIGTERM)
    time.sleep(1000)


def wait_for(pool, alive):
    until = time.monotonic() + 30
    while pool.alive() != alive:
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def error_of(code):
    codes[:] = [code]
    pool.start(1)
    wait_for(pool, 0)
    try:
        pool.reap()
    except (UserError, RunError) as error:
        return type(error), str(error)


if __name__ == "__main__":
    from kd.search.workers import pool as pool_module
    from kd.search.workers.pool import WorkerPool

    pool_module.work = work
    fork_server_module._PRELOADED = ["no.such.module"]
    codes, begun = [0, 0, -signal.SIGKILL], []

    def order(number):
        begun.append(number)
        return number, codes.pop(0)

    start_fork_server()
    with WorkerPool(3, order) as pool:
        pool.start(0)
        pool.start(-2)
        assert begun == []
        pool.start(7)
        assert begun == [0, 1, 2]
        wait_for(pool, 2)
        assert pool.reap() == [signal.SIGKILL]
        codes[:] = [143, 143]
        pool.start(2)
        assert begun == [0, 1, 2, 2]  # it takes the place of the one that died
        wait_for(pool, 2)
        assert pool.reap() == [signal.SIGTERM]
        pool.stop()
        assert pool.alive() == 0
        assert pool.reap() == []
        assert error_of(2) == (UserError, "worker 0 gave up: see above")
        assert error_of(1) == (RunError, "worker 0 failed with exit code 1: see above")
        codes[:] = [0, 0]
        pool.start(1)
        [orphan] = pool._processes()
        psutil.Process(orphan.pid).parent().kill()  # the fork server
        wait_for(pool, 0)
        assert pool.reap() == [signal.SIGKILL]
        gone = time.monotonic() + 30
        while psutil.pid_exists(orphan.pid) and psutil.Process(orphan.pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < gone, "the orphan lives on"
        pool.start(1)
        [alive] = pool._processes()
    assert alive.exitcode == -signal.SIGTERM
"""


def test_a_pool_replaces_workers_and_tells_what_ended_them(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    subprocess.run([sys.executable, program], timeout=SECONDS, check=True)
