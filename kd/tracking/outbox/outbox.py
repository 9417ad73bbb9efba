"""What a process tells its tracking store, in order: at once where that is a file, from a thread where it is a server.

What is for a server is written to disk first, and sent by the thread, so that a server that is slow, ill or gone costs a
training nothing. A database that is locked or full is treated so from its first error on, until it has all that waited.
"""

import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kd.errors import reason
from kd.machine.activity import doing
from kd.machine.secrets import masked
from kd.machine.signals import is_stopping
from kd.tracking.outbox.delivery import deliver, deliver_text, is_away, is_refusal, model_of
from kd.tracking.outbox.ids import Ids, NotKnownYetError, NotMadeError
from kd.tracking.outbox.journal import REFUSED, Entry, Journal, Record

log = logging.getLogger("kd")

FOLDER = "outbox"
"""Folder below an output folder."""
_SERVERS = ("http://", "https://")
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""For each request: MLflow would ask a dead server for minutes, and what is to be sent waits on disk meanwhile."""
_OPEN_SECONDS = 2.0
"""For the id of a new run, which has one of kd's own after that."""
_AGAIN_SECONDS = 2.0
_AT_MOST_SECONDS = 15.0
"""Between two tries to reach a store that is away: the first ones, and after a while."""
_END_SECONDS = 5.0
"""At the end of a command, for a store that is away."""
_STUCK_SECONDS = 60.0
"""The same, for one that is slow."""
_LOOK_SECONDS = 0.01
_SAID = re.compile(
    r"\[Errno -?\d+\] ([\w ]+)|\(\w+\.OperationalError\) ([\w ]+)"
    r"|(?:Caused by \w+\(.*?)(timed out|too many \d+ error responses)"
    r"|Caused by ProtocolError\('Connection aborted\.', \w+\((?:\d+, )?'([\w ]+)'"
)
_MOST = 200
"""Characters of the reason why a store is away, where it is told in many."""


class Outbox:
    """What one process tells its tracking store."""

    def __init__(self, output_dir: Path, address: str, *, is_told: bool = True) -> None:
        """Take the folder below which it waits on disk, the address of the store, and whether a person is told of it."""
        self.output_dir = output_dir
        self.address = masked(address)
        self._address = address
        self.ids = Ids(output_dir / FOLDER / "ids")
        self._root = output_dir / FOLDER
        self._journal = Journal.new(self._root)
        self._is_server = address.startswith(_SERVERS)
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._gone_because = ""
        self._waited = 0
        self._refused: Exception | None = None
        self._level = logging.WARNING if is_told else logging.DEBUG
        self._closing = False
        self._gave_up = False
        self._sent_at = time.monotonic()

    @property
    def is_away(self) -> bool:
        """Return whether the store did not answer when it was told something last."""
        return bool(self._gone_because)

    def post(self, record: Record, payload: Path | None = None) -> str | None:
        """Tell the store something, now or later.

        Args:
            record: what to do, as :mod:`kd.tracking.outbox.delivery` knows it.
            payload: the file or folder that belongs to it.

        Returns:
            The id of the run or model that it creates; None: it creates none.

        Raises:
            Exception: MLflow's own: the store refuses this, or what it was told before.
            OSError: there is no place for it on disk.
        """
        if record["do"] != "end":
            self.check_refused()
        with self._lock:
            if not self._is_server and not len(self._journal):
                try:
                    return deliver(record, payload)
                except Exception as error:
                    if not is_away(error):
                        raise
                    self._go_away(error)
            if "new" in record:
                self._journal.begin(self.address)  # as long as that is there, nobody removes the id
                self.ids.add(record["new"])
            self._journal.add(record, payload, self.address)
            self._waited += self.is_away
            if self._thread is None:
                self._thread = threading.Thread(target=self._send, name="outbox", daemon=True)
                self._thread.start()
        self._wake.set()
        return self._id_of(record)

    def _id_of(self, record: Record) -> str | None:
        """Return the id of what a record creates: the store's own if that comes soon, since people read it."""
        if "new" not in record:
            return None
        new = str(record["new"])
        if record["do"] == "model":
            return model_of(new)
        until = time.monotonic() + _OPEN_SECONDS
        while not self.is_away and not self._refused and time.monotonic() < until:
            real = self.ids.real(new)
            if real is not None:
                return real
            time.sleep(_LOOK_SECONDS)
        self.check_refused()
        return new

    def check_refused(self) -> None:
        """Raise what the store answered to something that it refused, once."""
        refused, self._refused = self._refused, None
        if refused is not None:
            raise refused

    def settle(self) -> None:
        """Wait until the store has all that it was told, if it is there and goes on taking it; some seconds if it is away."""
        with doing("waiting for the tracking store"):
            began = self._sent_at = time.monotonic()
            while len(self._journal) and self._is_worth_waiting(began):
                self._wake.set()
                time.sleep(_LOOK_SECONDS)
            self._gave_up = self.is_away

    def close(self) -> None:
        """Wait for what is under way, and say in one line what is left."""
        if not self._gave_up:
            self.settle()
        with self._lock:
            self._closing = True
            left = len(self._journal)
        self._wake.set()
        if self._thread is not None and not left:
            self._thread.join()
        self._journal.close()
        if not self.is_away:
            left += self.send_left()  # of processes that this one started
        if left:
            log.warning(
                "tracking store %s has not taken all: %s; `%s` sends them when it is back, and so does the next command",
                self.address,
                left_text(left, self._root),
                send_command(self.output_dir),
            )

    def send_left(self) -> int:
        """Send what dead processes left below the same folder, and return how many records that was not possible for."""
        return send_left(self.output_dir, self._address).waiting

    def _is_worth_waiting(self, began: float) -> bool:
        now = time.monotonic()
        if self.is_away or is_stopping():
            return now - began < _END_SECONDS
        return now - self._sent_at < _STUCK_SECONDS

    def _send(self) -> None:
        """Deliver records as they come, in order, until the end."""
        pause = 0.0
        while not self._closing:
            entry = self._journal.first()
            if entry is None:
                self._wake.wait()
                self._wake.clear()
                continue
            if pause:
                self._pause(pause)
            try:
                self._leave_behind(_refusal(entry, self.ids))
            except NotKnownYetError:  # of another process, which may have died
                self.send_left()
                pause = _AGAIN_SECONDS
            except Exception as error:  # noqa: BLE001 - stores of many makers raise errors of their own
                self._go_away(error)
                pause = min(max(_AGAIN_SECONDS, pause * 1.5), _AT_MOST_SECONDS)
            else:
                pause = 0.0

    def _leave_behind(self, refusal: Exception | None) -> None:
        """Remove the oldest record, which the store has now, or set it aside, where the store refused it."""
        self._sent_at = time.monotonic()
        with self._lock:
            if self._closing:
                return  # the journal is another process's by now
            if refusal is None:
                self._journal.drop_first()
            else:
                set_aside(self._journal, refusal, self.output_dir)
            if refusal is not None and not isinstance(refusal, NotMadeError):  # that was told
                self._refused = refusal
            if not len(self._journal):
                self._come_back()

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._closing and time.monotonic() < until:
            time.sleep(min(0.1, seconds))

    def _go_away(self, error: Exception) -> None:
        if not self.is_away:
            self._gone_because = _why(error)
            self._waited = len(self._journal)
            log.log(
                self._level,
                "tracking store %s is away (%s): training goes on, and what is to be logged waits in %s",
                self.address,
                self._gone_because,
                self._root,
            )

    def _come_back(self) -> None:
        if self.is_away:
            self._gone_because = ""
            log.log(self._level, "tracking store %s is back: all that waited is sent", self.address)


def _why(error: Exception) -> str:
    """Return why a store is away, in a few words where the system or the network said it."""
    said = _SAID.search(masked(str(error)))
    return next(filter(None, said.groups())) if said else masked(reason(error))[:_MOST]


def left_text(count: int, root: Path) -> str:
    """Return in words how much waits on disk."""
    return f"{count} records wait in {root}" if count != 1 else f"1 record waits in {root}"


def send_command(output_dir: Path) -> str:
    """Return the command that sends what waits below an output folder."""
    here = output_dir.absolute() == Path.cwd()
    return "kd runs --send" if here else f"kd runs --send --output-dir {output_dir}"


class _Open:
    """The outbox of this process, with as many users as there are runs open."""

    outbox: Outbox | None = None
    users = 0
    lock = threading.RLock()


def current() -> Outbox | None:
    """Return the outbox of the run that is open; None: no run is."""
    return _Open.outbox


def post(record: Record, payload: Path | None = None) -> str | None:
    """Tell the tracking store something, as :meth:`Outbox.post`; at once where no run is open."""
    outbox = _Open.outbox
    return deliver(record, payload) if outbox is None else outbox.post(record, payload)


def settle() -> None:
    """Wait until the store has what this process told it, so that it may be asked for that; not while it is away."""
    outbox = _Open.outbox
    if outbox is not None and not outbox.is_away:
        outbox.settle()


def send_of_the_dead() -> None:
    """Send what processes that this one started left when they ended, unless the store is away."""
    outbox = _Open.outbox
    if outbox is not None and not outbox.is_away:
        outbox.send_left()


def is_store_away() -> bool:
    """Return whether the tracking store is known to be away, so that to ask it would cost time and fail."""
    return _Open.outbox is not None and _Open.outbox.is_away


@contextmanager
def outbox_open(output_dir: Path, address: str, *, keep: bool) -> Iterator[Outbox]:
    """Have an outbox in the ``with`` block; at the end of the outermost one it is emptied, if the store takes it.

    Args:
        output_dir: folder below which waits what can't be sent.
        address: address of the tracking store.
        keep: whether the process goes on with other runs, for which the outbox stays; its leader tells of the store.
    """
    with _short_patience(address):
        with _Open.lock:
            outbox = _Open.outbox
            if outbox is None:
                outbox = _Open.outbox = Outbox(output_dir, address, is_told=not keep)
            _Open.users += 1
        try:
            yield outbox
        finally:
            with _Open.lock:
                _Open.users -= 1
                is_last = not _Open.users
                if is_last and not keep:
                    _Open.outbox = None
            if is_last and not keep:
                outbox.close()
            elif is_last and not outbox.is_away:
                outbox.settle()
    if is_last:
        outbox.check_refused()


@contextmanager
def _short_patience(address: str) -> Iterator[None]:
    """Have MLflow ask a server for some seconds only, unless a user has set something else."""
    added = [name for name in _PATIENCE if name not in os.environ] if address.startswith(_SERVERS) else []
    os.environ.update({name: _PATIENCE[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@dataclass(frozen=True)
class Left:
    """What was found of commands that ended before all was sent."""

    sent: int
    waiting: int
    """Records that could not be sent."""
    why: str
    """Why they could not; empty: they could."""


def send_left(output_dir: Path, address: str, *, refused: bool = False) -> Left:
    """Send what the commands before left in the outbox of an output folder.

    Args:
        output_dir: the folder.
        address: address of the tracking store.
        refused: whether what the store refused before is sent once more, too.
    """
    root = output_dir / FOLDER
    ids = Ids(root / "ids")
    sent, waiting, why = 0, 0, ""
    with _short_patience(address), doing("sending what waited for the tracking store"):
        progress = True
        while progress:  # what one process left may name a run of another
            progress, waiting = False, 0
            for journal in Journal.left(root):
                if journal.store != masked(address):
                    waiting += len(journal)
                    why = f"they are for the store {journal.store}: set MLFLOW_TRACKING_URI to it" if len(journal) else why
                    continue
                done, failed = _send_all(journal, ids, output_dir)
                sent += done
                waiting += len(journal)
                why = failed or why
                progress |= bool(done) and bool(len(journal))
        for journal in Journal.left(root / REFUSED) if refused else ():
            done, failed = _send_again(journal, ids, address)
            sent += done
            waiting += len(journal)
            why = failed or why
    known = ids.all()  # before the journals: an id that comes later has one
    if known and not Journal.are_left(root):
        ids.forget(known)
    with suppress(OSError):  # something waits there
        (root / REFUSED).rmdir()
    with suppress(OSError):
        root.rmdir()
    return Left(sent, waiting, why if waiting else "")


def _refusal(entry: Entry, ids: Ids) -> Exception | None:
    """Deliver a record, and return why the store refuses it; None: it has taken it.

    Raises:
        Exception: it may take it later.
    """
    try:
        deliver_text(entry.text, entry.payload, ids)
    except Exception as error:
        if not is_refusal(error):
            raise
        return error
    return None


def set_aside(journal: Journal, error: Exception, output_dir: Path) -> None:
    """Set the oldest record of a journal aside, which the store refuses, so that what comes after it is sent.

    That is told of the first one.
    """
    if not journal.set_first_aside():
        log.warning(
            "the tracking store refuses records (%s): they are kept in %s, and what comes after them is sent; when that is "
            "mended, `%s` sends them; delete the folder if they are not wanted",
            masked(reason(error)),
            journal.refused,
            send_command(output_dir),
        )


def _send_again(journal: Journal, ids: Ids, address: str) -> tuple[int, str]:
    """Send the records that a store refused before; return how many it takes now, and why it does not take another."""
    done, why = 0, ""
    for _ in range(len(journal) if journal.store == masked(address) else 0):
        entry = journal.first()
        assert entry is not None  # noqa: S101 - nobody else has the journal
        try:
            deliver_text(entry.text, entry.payload, ids)
        except Exception as error:  # noqa: BLE001 - stores of many makers raise errors of their own
            why = why or f"refused ({masked(reason(error))})"
            journal.put_first_last()
        else:
            journal.drop_first()
            done += 1
    return done, why


def _send_all(journal: Journal, ids: Ids, output_dir: Path) -> tuple[int, str]:
    """Send the records of a journal until one fails; return how many were sent, and why that one failed."""
    done = 0
    while (entry := journal.first()) is not None:
        try:
            refusal = _refusal(entry, ids)
        except NotKnownYetError:
            return done, "they name a run that is not sent yet"
        except Exception as error:  # noqa: BLE001 - stores of many makers raise errors of their own
            return done, masked(reason(error))
        if refusal is None:
            journal.drop_first()
            done += 1
        else:
            set_aside(journal, refusal, output_dir)
    return done, ""
