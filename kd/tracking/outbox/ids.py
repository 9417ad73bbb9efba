"""Ids of kd's own for runs and models that the tracking store could not be asked for, and the store's ids of them."""

import re
import uuid
from pathlib import Path

from kd.machine.files import write_whole

_ID = re.compile("(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


class NotKnownYetError(Exception):
    """A text names a run or a model that the store does not have yet."""


def new_id() -> str:
    """Return an id that no run and no model has."""
    return uuid.uuid4().hex


class Ids:
    """The ids of kd's own below a folder, each a file that holds the store's id, or nothing while the store has none."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which is made with the first id."""
        self.folder = folder

    def add(self, own: str) -> None:
        """Note that an id is of kd's own."""
        write_whole(self.folder / own, b"")

    def learn(self, own: str, real: str) -> None:
        """Note the store's id."""
        write_whole(self.folder / own, real.encode())

    def real(self, own: str) -> str | None:
        """Return the store's id; None: it has none yet."""
        try:
            return (self.folder / own).read_text(encoding="utf-8") or None
        except FileNotFoundError:
            return None

    def forget(self, own: str) -> None:
        """Remove an id that nobody has seen."""
        (self.folder / own).unlink(missing_ok=True)

    def resolved(self, text: str) -> str:
        """Return a text with the store's ids in the place of kd's own.

        Raises:
            NotKnownYetError: the store does not have one of them yet.
        """
        return _ID.sub(self._replaced, text) if self.folder.exists() else text

    def _replaced(self, found: re.Match[str]) -> str:
        own = found.group()
        if not (self.folder / own).exists():
            return own  # an id of the store's, or a digest
        real = self.real(own)
        if real is None:
            raise NotKnownYetError(own)
        return real
