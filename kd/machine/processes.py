"""Descriptions of processes, by which another process, on this machine or not, can say whether one is gone."""

import os
import platform
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

MAX_PID = 2**31
HOST_NAMESPACE = "pid:[4026531836]"
"""The process namespace of a Linux machine itself, which no container has (PROC_PID_INIT_INO of linux/proc_ns.h)."""


def myself() -> dict[str, Any]:
    """Return a description of this process that fits no other one, on any machine, now or later."""
    return describe_process(os.getpid())


def describe_process(pid: int) -> dict[str, Any]:
    """Return the description of another process of this machine."""
    return {"machine": _machine(), "boot": _boot(), "pid": pid, "started": _started(pid)}


def is_description(value: object) -> bool:
    """Return whether a value describes a process: what is read from a database may be anything."""
    if not isinstance(value, Mapping):
        return False
    pid = value.get("pid")
    return isinstance(value.get("machine"), str) and type(pid) is int and 0 < pid < MAX_PID and "started" in value


def is_gone(process: Mapping[str, Any]) -> bool:
    """Return whether a described process is known to be gone; for one on another machine that can't be known."""
    if not is_description(process) or process["machine"] != _machine() or is_of_another_boot(process):
        return False
    pid: int = process["pid"]
    if not _exists(pid):
        return True
    try:
        return _started(pid) != process["started"] or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):  # it has just ended, or is another user's and can't be looked at
        return not _exists(pid)


def is_here(process: Mapping[str, Any]) -> bool:
    """Return whether a description is of a process of this machine since it was started, which may be gone."""
    return is_description(process) and process["machine"] == _machine() and not is_of_another_boot(process)


def is_of_another_boot(process: Mapping[str, Any]) -> bool:
    """Return whether a process ran on a machine of this name that was started at another time.

    That is this machine before it was started again, and the process is gone; or another one of the same name and address,
    as copies of virtual machines are, where it may live.
    """
    return is_description(process) and process["machine"] == _machine() and process.get("boot", _boot()) != _boot()


def _exists(pid: int) -> bool:
    """Return whether a process of this number exists; another user's does even where ``/proc`` hides it."""
    if os.name != "posix":
        return psutil.pid_exists(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> float:
    """Return when a process began: in ticks since the machine's start where they can be read, since no set clock moves them."""
    if not Path("/proc/self/stat").exists():
        return psutil.Process(pid).create_time()
    return float(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])  # field 22 of proc(5)


def _machine() -> str:
    """Return the name of this machine, or of the container, since two containers may share a host name and an address."""
    name = f"{platform.node()}/{uuid.getnode():x}"
    namespace = HOST_NAMESPACE
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    if namespace == HOST_NAMESPACE:
        return name
    return f"{name}/{_boot()}/{namespace}"


def _boot() -> str:
    """Return what tells this start of the machine from all others; empty where it does not say."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return ""
