"""Locks between processes: one holder at a time, and no file that stays behind."""

from pathlib import Path
from typing import Any

import pytest
from filelock import AcquireReturnProxy, FileLock, Timeout

from kd.machine.locks import acquire, held, release, wait_for


def test_a_lock_has_one_holder_and_leaves_no_file(tmp_path: Path) -> None:
    one, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    acquire(one)
    with pytest.raises(Timeout):
        acquire(other)
    with held(one):
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    assert not list(tmp_path.iterdir())
    wait_for(other)
    release(other)
    assert not list(tmp_path.iterdir())


class Overtaken(FileLock):
    """A lock whose last holder removes the file just after it was opened here."""

    times = 2

    def acquire(self, *args: Any, **kwargs: Any) -> AcquireReturnProxy[Any]:  # noqa: ANN401 - filelock's own
        found = super().acquire(*args, **kwargs)
        if self.times:
            self.times -= 1
            Path(self.lock_file).unlink()
        return found


def test_a_lock_whose_file_was_just_removed_is_acquired_again(tmp_path: Path) -> None:
    lock = Overtaken(tmp_path / "lock")
    acquire(lock)
    with held(lock), pytest.raises(Timeout):
        acquire(FileLock(tmp_path / "lock"))
    assert lock.times == 0
    assert not list(tmp_path.iterdir())
