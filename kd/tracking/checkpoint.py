"""The checkpoint of a training under way: found again by the training's fingerprint, written by one process at a time."""

import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from kd.machine.locks import acquire, release
from kd.tracking.store import Run
from kd.training import checkpoints

log = logging.getLogger("kd")


class Checkpoint:
    """The files of a training's last state and of the one before it, below ``checkpoints/``."""

    def __init__(self, folder: Path, fingerprint: str, run_id: str) -> None:
        """Take the folder, the training's fingerprint, and the id of the run that writes the file."""
        self.folder = folder
        self._path = folder / f"unfinished-{fingerprint}.pt"
        self._run_id = run_id
        self._lock = FileLock(f"{self._path}.lock")

    def __enter__(self) -> Self:
        """Claim the file, until the end of the ``with`` block."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            acquire(self._lock)
        except Timeout:
            # The same training is under way in another process: leave its checkpoint alone.
            self._path = self.folder / f"unfinished-{self._run_id}.pt"
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock.is_locked:
            release(self._lock)

    @property
    def _before(self) -> Path:
        return self._path.with_suffix(".before.pt")

    def states(self) -> Iterator[dict[str, Any]]:
        """Yield the saved states, the last one first; one that can't be read is told and passed over."""
        for path in (self._path, self._before):
            state = checkpoints.load(path)
            if state is not None:
                yield state
            elif path.exists():
                log.warning("%s: damaged or altered: passed over", path)

    def save(self, state: Mapping[str, Any]) -> None:
        """Save tensors and numbers, whole or not at all; the state that was saved before stays beside it."""
        if self._path.exists():
            self._path.replace(self._before)
        checkpoints.save(self._path, {**state, "run_id": self._run_id})

    def keep(self, name: str) -> Path:
        """Give the finished training's checkpoint a name of its own, and return its path."""
        final = self.folder / f"{name}.pt"
        if self._path.exists():  # else the run stopped after this
            self._path.replace(final)
        for left in (self._before, *self.folder.glob(f"{self._path.name}.*.tmp")):  # the latter by a process that was killed
            left.unlink(missing_ok=True)
        return final


def finished_checkpoint(folder: Path, run: Run) -> dict[str, Any] | None:
    """Return the checkpoint of a training whose epochs are all done, from this machine or from its run; None: there is none.

    Args:
        folder: where checkpoints lie on this machine.
        run: the run of the training.
    """
    name = f"{run.files_name}.pt"
    here = checkpoints.load(folder / name)
    if here is not None:
        return here
    with tempfile.TemporaryDirectory() as fetched:
        path = run.fetch_file(f"checkpoints/{name}", Path(fetched))
        return None if path is None else checkpoints.load(path)
