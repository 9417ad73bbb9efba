"""Records of what a tracking store is to be told, in order, on disk: each one whole, with the files that belong to it."""

import json
import os
import secrets
import shutil
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from kd.machine.files import write_whole
from kd.machine.locks import acquire, release

STORE = "store"
"""File beside the records: the address of the store that they are for, without secrets."""
REFUSED = "refused"
"""Folder beside the journals: the records that the store refused, below a folder for each journal."""
_LOCK = "lock"
_LINKED_BYTES = 2**20
"""Files of this size are linked, not copied: the large ones that kd writes are replaced as a whole, never altered."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """One record on disk."""

    path: Path

    @property
    def text(self) -> str:
        """Return the record as JSON."""
        return self.path.read_text(encoding="utf-8")

    @property
    def payload(self) -> Path | None:
        """Return the file or folder that belongs to it; None: there is none."""
        folder = self.path.with_suffix("")
        return next(folder.iterdir(), None) if folder.is_dir() else None

    def remove(self) -> None:
        """Remove the record, then its files: what is cut in two is no record."""
        self.path.unlink(missing_ok=True)
        shutil.rmtree(self.path.with_suffix(""), ignore_errors=True)


class Journal:
    """The records of one process, in a folder of its own; other processes see by a lock that it lives."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which is made with the first record."""
        self.folder = folder
        self._lock = FileLock(folder / _LOCK, thread_local=False)
        self._entries: deque[Entry] = deque()
        self._number = 0
        self._own = threading.Lock()

    @classmethod
    def new(cls, root: Path) -> Self:
        """Return a new journal below a folder."""
        return cls(root / secrets.token_hex(8))

    @classmethod
    def left(cls, root: Path) -> "Iterator[Journal]":
        """Yield the journals that dead processes left below a folder, each held until the next one is asked for."""
        for store in sorted(root.glob(f"*/{STORE}"), key=_modified):
            journal = cls(store.parent)
            try:
                acquire(journal._lock)
            except (Timeout, OSError):  # its process lives, or has just removed it
                continue
            journal._read()
            try:
                yield journal
            finally:
                journal.close()

    def _read(self) -> None:
        self._entries.extend(Entry(path) for path in sorted(self.folder.glob("*.json")))

    @property
    def store(self) -> str:
        """Return the address of the store that the records are for."""
        with suppress(OSError):
            return (self.folder / STORE).read_text(encoding="utf-8")
        return ""

    def __len__(self) -> int:
        return len(self._entries)

    def first(self) -> Entry | None:
        """Return the oldest record; None: there is none."""
        with self._own:
            return self._entries[0] if self._entries else None

    @staticmethod
    def are_left(root: Path) -> bool:
        """Return whether records may be below a folder, of processes that live or are dead, or that the store refused."""
        return any(root.glob(f"*/{STORE}")) or any(root.glob(f"{REFUSED}/*/{STORE}"))

    def begin(self, store: str) -> None:
        """Make the folder, for records that are for a store, where it is not made yet.

        Raises:
            OSError: it can't be made.
        """
        with self._own:
            if not self._lock.is_locked:
                self.folder.mkdir(parents=True, exist_ok=True)
                acquire(self._lock)
                write_whole(self.folder / STORE, store.encode())

    def add(self, record: Record, payload: Path | None, store: str) -> None:
        """Add a record, and keep the files that belong to it.

        Args:
            record: the record, as JSON has it.
            payload: a file, or a folder that nobody will alter.
            store: address of the store that it is for, without secrets.

        Raises:
            OSError: it can't be written.
        """
        self.begin(store)
        with self._own:
            self._number += 1
            entry = Entry(self.folder / f"{self._number:08}.json")
            if payload is not None:
                _keep(payload, entry.path.with_suffix("") / payload.name)
            write_whole(entry.path, json.dumps(record).encode())
            self._entries.append(entry)

    def drop_first(self) -> None:
        """Remove the oldest record."""
        with self._own:
            self._entries.popleft().remove()

    def put_first_last(self) -> None:
        """Put the oldest record behind the others; on disk it stays as it is."""
        with self._own:
            self._entries.rotate(-1)

    @property
    def refused(self) -> Path:
        """Return the folder of the records that the store refused."""
        return self.folder.parent / REFUSED / self.folder.name

    def set_first_aside(self) -> bool:
        """Move the oldest record, and the files that belong to it, to those that the store refused; return whether some were.

        Raises:
            OSError: it can't be written there.
        """
        with self._own:
            entry, are_some = self._entries[0], self.refused.exists()
            if entry.path.exists():  # else somebody removed it
                write_whole(self.refused / STORE, self.store.encode())
                if entry.payload is not None:
                    _keep(entry.payload, self.refused / entry.path.stem / entry.payload.name)
                entry.path.replace(self.refused / entry.path.name)
            entry.remove()
            self._entries.popleft()
            return are_some

    def close(self) -> None:
        """Let other processes have what is left; an empty folder is removed."""
        if not self._lock.is_locked:
            return
        if not self._entries:
            (self.folder / STORE).unlink(missing_ok=True)
        release(self._lock)
        with suppress(OSError):  # it is not empty
            self.folder.rmdir()
            self.folder.parent.rmdir()


def _modified(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _keep(payload: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    if payload.is_dir():
        shutil.copytree(payload, to, copy_function=_link)
    elif payload.stat().st_size >= _LINKED_BYTES:
        _link(str(payload), str(to))
    else:
        shutil.copyfile(payload, to)


def _link(source: str, to: str) -> str:
    """Link a file, or copy it where that can't be done."""
    try:
        os.link(source, to)
    except OSError:
        shutil.copyfile(source, to)
    return to
