"""Files that are whole or not there: one that replaces another in one step, and an array that is mapped and checked.

An array file is a line of JSON (facts of the caller's own, the SHA-256 of them and of what follows), padded with spaces to a
multiple of 64 bytes, then the numbers of the array, row by row, little-endian.
"""

import glob
import hashlib
import json
import math
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kd.machine.paths import check_file, exists, open_file

HEADER_ALIGNMENT = 64
MAX_HEADER_BYTES = 65536
LEFT_OVER_SECONDS = 3600.0
CHUNK_BYTES = 16 * 2**20
_DIGEST = "payload_sha256"
_FACTS_DIGEST = "facts_sha256"
"""Of all other facts; a file of an earlier version has none."""


def write_whole(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file, and its folder where it is missing: after a kill, a power cut or on a full disk the old one is left.

    Any number of processes may write the same file at once: that of the last one to end stays. What a killed one left
    beside the file is removed by one an hour later.

    Args:
        path: the file.
        parts: what to write, one after the other.

    Raises:
        OSError: it can't be written, or what has its name is no file; the error names the file.
    """
    if exists(path):
        check_file(path)  # a device would be gone, with a file in its place
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with partial.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())  # a network's disk reports only now that it is full
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.strerror:
            raise type(error)(error.errno, error.strerror, str(path)) from error  # a write that fails names no file
        raise
    _remove_left_over(path)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, as hex digits."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_left_over(path: Path) -> None:
    """Remove what killed processes left beside a file: parts so old that nobody can be writing them."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.{'?' * 8}.tmp"):
        with suppress(OSError):  # Windows deletes no file that is open, and another process may have come first
            if time.time() - left.stat().st_mtime > LEFT_OVER_SECONDS:
                left.unlink()


@dataclass(frozen=True, eq=False)
class ArrayFile:
    """An array file mapped into memory: the facts in its header, and the array, which is checked when it is asked for."""

    facts: dict[str, Any]
    _sha256: str
    _payload: NDArray[np.uint8]

    def has_room_for(self, dtype: DTypeLike, shape: Sequence[int]) -> bool:
        """Return whether the file has the length of such an array, no more and no less."""
        return len(self._payload) == math.prod(shape) * np.dtype(dtype).itemsize

    def rows(self, dtype: DTypeLike, length: int) -> NDArray[Any] | None:
        """Return the array as rows of some length, as :meth:`array`; None also where it is not made of such rows."""
        count, rest = divmod(len(self._payload), length * np.dtype(dtype).itemsize)
        return None if rest else self.array(dtype, (count, length))

    def is_sound(self, until: float) -> bool:
        """Return whether no byte of the array has changed, as far as they can be looked at until a time (monotonic)."""
        digest = hashlib.sha256()
        for start in range(0, len(self._payload), CHUNK_BYTES):
            if time.monotonic() > until:
                return True
            digest.update(self._payload[start : start + CHUNK_BYTES].data)
        return digest.hexdigest() == self._sha256

    def array(self, dtype: DTypeLike, shape: Sequence[int]) -> NDArray[Any] | None:
        """Return the array, or None where the file is damaged: its length is another, or a bit has changed.

        The pages are private: processes share those that none of them writes to, and no change gets into the file.
        """
        if not self.has_room_for(dtype, shape) or hashlib.sha256(self._payload.data).hexdigest() != self._sha256:
            return None
        return self._payload.view(dtype).reshape(shape)


def write_array(path: Path, array: NDArray[Any], facts: Mapping[str, Any]) -> None:
    """Write an array file as :func:`write_whole` does.

    Args:
        path: the file.
        array: any shape, of numbers of any size.
        facts: values that JSON can hold, from which a reader knows type and shape, and whose array it is.

    Raises:
        OSError: it can't be written.
    """
    payload = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data
    line = _line({**facts, _FACTS_DIGEST: _facts_digest(facts), _DIGEST: hashlib.sha256(payload).hexdigest()})
    padding = b" " * (-(len(line) + 1) % HEADER_ALIGNMENT) + b"\n"
    write_whole(path, line, padding, payload)


def open_array(path: Path) -> ArrayFile | None:
    """Map an array file into memory, and read its header; None where there is no header that can be read.

    Raises:
        OSError: the file is missing, or can't be read.
    """
    with open_file(path) as file:
        line = file.readline(MAX_HEADER_BYTES)
        header = _json_object(line)
        digest, facts_digest = header.pop(_DIGEST, None), header.pop(_FACTS_DIGEST, None)
        if not isinstance(digest, str) or facts_digest not in (None, _facts_digest(header)):
            return None
        pages = np.memmap(file, np.uint8, mode="c")  # copy-on-write: torch wants memory that it could write to
    return ArrayFile(header, digest, np.asarray(pages)[len(line) :])


def _line(facts: Mapping[str, Any]) -> bytes:
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")


def _facts_digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(_line(facts)).hexdigest()


def _json_object(line: bytes) -> dict[str, Any]:
    """Return the object that a line of JSON holds; an empty one where it holds anything else."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
