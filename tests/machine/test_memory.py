"""The allocator's settings, seen from outside: how often the kernel had to hand out a page."""

import platform
import subprocess
import sys

import pytest

from kd.machine.memory import give_back_freed_memory

PROGRAM = """
import resource, sys
from kd.machine.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
for _ in range(10):
    blocks = [bytearray(b"x") * (16 << 20) for _ in range(5)]  # as a step's activations
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def page_faults(workspace: str) -> int:
    return int(subprocess.run([sys.executable, "-c", PROGRAM, workspace], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such settings")
def test_memory_that_a_step_frees_is_there_for_the_next_one() -> None:
    assert page_faults("kept") < page_faults("as it is") / 2


RESIDENT = """
import ctypes, os, sys
from kd.machine.memory import give_back_freed_memory, keep_freed_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
def used_and_freed():
    blocks = [libc.malloc(2**20) for _ in range(100)]
    for block in blocks:
        ctypes.memset(block, 1, 2**20)
    for block in blocks:
        libc.free(block)
keep_freed_memory()
before = resident()
used_and_freed()
kept = resident() - before
given = give_back_freed_memory()
print(kept > 90e6, given, resident() - before < 10e6)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such calls")
def test_what_was_freed_is_kept_and_then_given_back() -> None:
    result = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.split() == ["True", "True", "True"]


def test_giving_back_is_nothing_without_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    assert give_back_freed_memory() is False
