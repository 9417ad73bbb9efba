"""The allocator's settings, seen from outside: how often the kernel had to hand out a page."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from kd.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
for _ in range(10):
    blocks = [bytearray(b"x") * (16 << 20) for _ in range(5)]  # as a step's activations
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def page_faults(setting: str) -> int:
    return int(subprocess.run([sys.executable, "-c", PROGRAM, setting], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such settings")
def test_memory_that_a_step_frees_is_there_for_the_next_one() -> None:
    assert page_faults("kept") < page_faults("as it is") / 2
