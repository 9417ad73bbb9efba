"""Caches: their files with sizes, what is wrong with them, and that what is in use is not cleared."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from kd.machine.caches import CHECKPOINTS, PIXELS, TARGETS, clear_caches, folders, list_caches
from kd.machine.files import write_array

HOUR = 3600
DAY = 24 * HOUR


@pytest.fixture
def caches(tmp_path: Path) -> dict[str, Path]:
    """Return a good file of each cache."""
    files = {
        TARGETS: tmp_path / "targets" / f"{'0' * 32}.targets",
        PIXELS: tmp_path / "cache" / "kd" / "folder-0123456789abcdef-32px.bin",
        CHECKPOINTS: tmp_path / "checkpoints" / "unfinished-1.pt",
    }
    for path in files.values():
        write_array(path, np.arange(100, dtype=np.uint8), {"of": "a test"})
    return files


def age(path: Path, seconds: float) -> Path:
    path.touch()
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def wrong(folder: Path) -> dict[str, str]:
    return {file.path.name: file.wrong for file in list_caches(folder) if file.wrong}


def test_good_caches_are_listed_with_their_sizes(caches: dict[str, Path], tmp_path: Path) -> None:
    listed = {file.kind: (file.path, file.size_bytes) for file in list_caches(tmp_path)}
    assert listed == {kind: (path, path.stat().st_size) for kind, path in caches.items()}
    assert {kind: path.parent for kind, path in caches.items()} == folders(tmp_path)
    assert wrong(tmp_path) == {}


def test_a_flipped_bit_a_torn_and_an_empty_file_are_damaged(caches: dict[str, Path], tmp_path: Path) -> None:
    content = bytearray(caches[TARGETS].read_bytes())
    content[-1] ^= 1
    caches[TARGETS].write_bytes(content)
    caches[PIXELS].write_bytes(caches[PIXELS].read_bytes()[:-1])
    caches[TARGETS].with_name("empty.targets").touch()
    assert wrong(tmp_path) == dict.fromkeys((caches[TARGETS].name, caches[PIXELS].name, "empty.targets"), "damaged")


def test_a_checkpoint_is_stale_after_a_week(caches: dict[str, Path], tmp_path: Path) -> None:
    age(caches[CHECKPOINTS], 6.9 * DAY)
    assert wrong(tmp_path) == {}
    age(caches[CHECKPOINTS], 12.1 * DAY)
    assert wrong(tmp_path) == {"unfinished-1.pt": "of a training that was stopped 12 days ago"}


def test_nets_of_an_experiment_that_stopped_are_checkpoints_too(caches: dict[str, Path], tmp_path: Path) -> None:
    net = tmp_path / "checkpoints" / "unfinished-temperature-digits-0123abcd" / "width-30.pt"
    write_array(net, np.arange(3, dtype=np.uint8), {"of": "a test"})
    assert {file.path for file in list_caches(tmp_path)} == {*caches.values(), net}
    age(net, 8.1 * DAY)
    assert wrong(tmp_path) == {"width-30.pt": "of a training that was stopped 8 days ago"}


def test_what_killed_processes_left_is_told_once_it_is_old(caches: dict[str, Path], tmp_path: Path) -> None:
    part = Path(f"{caches[TARGETS]}.0123abcd.tmp")
    lock = Path(f"{caches[TARGETS]}.lock")
    for path in (part, lock):
        age(path, HOUR / 2)
    assert wrong(tmp_path) == {}
    for path in (part, lock):
        age(path, 2 * HOUR)
    assert wrong(tmp_path) == {part.name: "left by a process that was killed", lock.name: "a lock that nobody holds"}
    with FileLock(lock).acquire():
        age(lock, 2 * HOUR)
        assert lock.name not in wrong(tmp_path)


def test_clearing_deletes_all_but_what_is_held_or_being_written(caches: dict[str, Path], tmp_path: Path) -> None:
    kept = tmp_path / "checkpoints" / "teacher-1.pt"
    fresh = age(Path(f"{caches[PIXELS]}.0123abcd.tmp"), 0)
    old = age(Path(f"{caches[PIXELS]}.89abcdef.tmp"), 2 * HOUR)
    kept.touch()
    with FileLock(f"{caches[CHECKPOINTS]}.lock").acquire():
        cleared = clear_caches(tmp_path)
        assert {file.path for file in cleared} == {caches[TARGETS], caches[PIXELS], old}
        assert all(path.exists() for path in (caches[CHECKPOINTS], kept, fresh))
    clear_caches(tmp_path)
    fresh.unlink()
    assert list_caches(tmp_path) == []
    assert [path.name for folder in folders(tmp_path).values() for path in folder.iterdir()] == ["teacher-1.pt"]


def test_no_cache_is_no_error(tmp_path: Path) -> None:
    assert list_caches(tmp_path) == clear_caches(tmp_path) == []
