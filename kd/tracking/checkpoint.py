"""The checkpoint of a training under way: found again by the training's fingerprint, written by one process at a time."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from kd.machine.locks import acquire, release
from kd.training import checkpoints

log = logging.getLogger("kd")


class Checkpoint:
    """The file of a training's last finished epoch, below ``checkpoints/``."""

    def __init__(self, folder: Path, fingerprint: str, run_id: str) -> None:
        """Take the folder, the training's fingerprint, and the id of the run that writes the file."""
        self._folder = folder
        self._path = folder / f"unfinished-{fingerprint}.pt"
        self._run_id = run_id
        self._lock = FileLock(f"{self._path}.lock")

    def __enter__(self) -> Self:
        """Claim the file, until the end of the ``with`` block."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            acquire(self._lock)
        except Timeout:
            # The same training is under way in another process: leave its checkpoint alone.
            self._path = self._folder / f"unfinished-{self._run_id}.pt"
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock.is_locked:
            release(self._lock)

    def load(self) -> dict[str, Any] | None:
        """Return the saved state; None: there is none, or, which is told, none that can be read."""
        state = checkpoints.load(self._path)
        if state is None and self._path.exists():
            log.warning("%s: damaged or altered, so the training starts anew", self._path)
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Save tensors and numbers, whole or not at all."""
        checkpoints.save(self._path, {**state, "run_id": self._run_id})

    def keep(self, name: str) -> Path:
        """Give the finished training's checkpoint a name of its own, and return its path."""
        final = self._folder / f"{name}.pt"
        self._path.replace(final)
        return final
