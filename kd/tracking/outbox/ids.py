"""Ids of kd's own for runs and models that the tracking store could not be asked for, and the store's ids of them."""

import re
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from kd.machine.files import write_whole

_ID = re.compile("(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


_REFUSED = "refused"
"""What stands for the store's id where it refused to make the run or model."""


class NotKnownYetError(Exception):
    """A text names a run or a model that the store does not have yet."""


class NotMadeError(Exception):
    """A text names a run or a model that the store refused to make."""


def new_id() -> str:
    """Return an id that no run and no model has."""
    return uuid.uuid4().hex


class Ids:
    """The ids of kd's own below a folder, each a file that holds the store's id, or nothing while the store has none.

    They are needed as long as a record may name one. Later a run is found by the tag that has its first id.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder, which is made with the first id."""
        self.folder = folder

    def add(self, own: str) -> None:
        """Note that an id is of kd's own."""
        write_whole(self.folder / own, b"")

    def learn(self, own: str, real: str) -> None:
        """Note the store's id."""
        write_whole(self.folder / own, real.encode())

    def refuse(self, own: str) -> None:
        """Note that the store refused to make the run or model."""
        write_whole(self.folder / own, _REFUSED.encode())

    def real(self, own: str) -> str | None:
        """Return the store's id; None: it has none yet."""
        kept = self._kept(own)
        return kept if kept != _REFUSED else None

    def _kept(self, own: str) -> str | None:
        try:
            return (self.folder / own).read_text(encoding="utf-8") or None
        except FileNotFoundError:
            return None

    def all(self) -> list[str]:
        """Return all ids."""
        return [path.name for path in self.folder.glob("*")]

    def forget(self, own: Iterable[str]) -> None:
        """Remove ids that no record names any more."""
        for name in own:
            (self.folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # others have come, or there is no folder
            self.folder.rmdir()

    def resolved(self, text: str) -> str:
        """Return a text with the store's ids in the place of kd's own.

        Raises:
            NotKnownYetError: the store does not have one of them yet.
            NotMadeError: the store refused to make one of them.
        """
        return _ID.sub(self._replaced, text) if self.folder.exists() else text

    def _replaced(self, found: re.Match[str]) -> str:
        own = found.group()
        if not (self.folder / own).exists():
            return own  # an id of the store's, or a digest
        kept = self._kept(own)
        if kept is None:
            raise NotKnownYetError(own)
        if kept == _REFUSED:
            raise NotMadeError(own)
        return kept
