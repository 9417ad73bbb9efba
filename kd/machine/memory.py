"""glibc's allocator: memory that a step frees stays with the process for the next step, until that kind of work is over."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
KEPT_BYTES = 512 * 2**20
PAD_BYTES = 64 * 2**20
MAX_MMAP_THRESHOLD = 32 * 2**20
"""The largest that glibc accepts."""


def keep_freed_memory() -> bool:
    """Keep big blocks that are freed, and return whether that could be set.

    By default glibc gives each activation back to the kernel when it is freed, which then clears its pages again for the
    next step. Other C libraries have no such settings, and nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    settings = {M_MMAP_THRESHOLD: MAX_MMAP_THRESHOLD, M_TRIM_THRESHOLD: KEPT_BYTES, M_TOP_PAD: PAD_BYTES}
    return all(library.mallopt(name, value) == 1 for name, value in settings.items())


def give_back_freed_memory() -> bool:
    """Give freed memory back to the kernel, and return whether there was any: after each kind of work, not after each step.

    A training, the figures, a model's export and the filling of targets each take 130 to 260 MB, and none of them reuses what
    the one before has freed.
    """
    return platform.libc_ver()[0] == "glibc" and ctypes.CDLL(None).malloc_trim(0) == 1
