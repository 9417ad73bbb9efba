"""Processes are told apart, on this machine and on others."""

import os
from collections.abc import Mapping

from kd.search.processes import is_gone, myself


def test_processes_are_told_apart(dead_process: Mapping[str, object]) -> None:
    assert not is_gone(myself())
    assert is_gone(dead_process)
    assert is_gone({**myself(), "started": 1.0})  # another process that had this number
    assert not is_gone({**dead_process, "machine": "elsewhere"})  # that can't be known
    assert myself()["pid"] == os.getpid()
