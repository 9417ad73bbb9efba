"""Which process does what, told so that another process, on this machine or not, can say whether it is gone."""

import os
import platform
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil


def myself() -> dict[str, Any]:
    """Return what tells this process from every other one, on any machine, now and later."""
    return describe_process(os.getpid())


def describe_process(pid: int) -> dict[str, Any]:
    """Return the same of another process of this machine."""
    return {"machine": _machine(), "pid": pid, "started": _started(pid)}


def is_gone(process: Mapping[str, Any]) -> bool:
    """Return whether a process so described is known to be gone; of one elsewhere that can't be known."""
    if process["machine"] != _machine():
        return False
    pid: int = process["pid"]
    try:
        return _started(pid) != process["started"] or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return True


def _started(pid: int) -> float:
    """Tell when a process began: in ticks since the machine's start where that can be read, which no clock's step moves."""
    if not Path("/proc/self/stat").exists():
        return psutil.Process(pid).create_time()
    return float(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])  # field 22 of proc(5)


def _machine() -> str:
    return f"{platform.node()}/{uuid.getnode():x}"
