"""Whether a process is gone: told of real ones, and where that can't be known."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kd.machine.processes import describe_process, is_gone, is_of_another_boot, myself


def test_processes_are_told_apart(dead_process: Mapping[str, object]) -> None:
    assert not is_gone(myself())
    assert is_gone(dead_process)
    assert is_gone({**myself(), "started": 1.0})  # another process that had this number
    assert not is_gone({**dead_process, "machine": "elsewhere"})  # that can't be known
    assert myself()["pid"] == os.getpid()


def test_a_process_that_cannot_be_looked_at_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(self: Path, *_: object, **__: object) -> str:
        raise FileNotFoundError(self)

    me = myself()
    monkeypatch.setattr(Path, "read_text", hidden)  # /proc mounted with hidepid, which hides what others run
    assert not is_gone(me)


def test_a_process_of_another_start_of_a_machine_of_this_name_may_be_one_of_its_copies(
    dead_process: Mapping[str, object],
) -> None:
    before = {**dead_process, "boot": "another"}
    assert not is_gone(before)
    assert is_of_another_boot(before)
    assert not is_of_another_boot(dead_process)
    assert not is_of_another_boot({**before, "machine": "elsewhere"})
    assert is_gone({name: value for name, value in dead_process.items() if name != "boot"})  # as it was told before


@pytest.mark.parametrize("other", ["boot", "namespace"])
def test_containers_of_one_name_are_different_machines(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    namespaces, boots = ["pid:[1]", "pid:[2]" if other == "namespace" else "pid:[1]"], ["a", "b" if other == "boot" else "a"]
    read, told = Path.read_text, []
    for namespace, boot in zip(namespaces, boots, strict=True):
        monkeypatch.setattr(Path, "readlink", lambda _, namespace=namespace: Path(namespace))
        monkeypatch.setattr(
            Path, "read_text", lambda path, boot=boot, **how: boot if path.name == "boot_id" else read(path, **how)
        )
        told.append(describe_process(os.getppid()))
        assert not is_gone(told[0])
    assert not is_gone({**told[0], "started": 1.0})
    assert is_gone({**told[1], "started": 1.0})


def test_what_does_not_describe_a_process_is_not_known_to_be_gone(dead_process: Mapping[str, object]) -> None:
    assert is_gone(dead_process)
    for altered in ({"pid": -1}, {"pid": 0}, {"pid": 10**30}, {"pid": "7"}, {"pid": True}, {"pid": None}, {"machine": [1]}):
        assert not is_gone({**dead_process, **altered})
    others: list[Any] = [None, 5, "x", [], {}, {"pid": 7}, [("pid", 7)]]
    assert not any(map(is_gone, others))
