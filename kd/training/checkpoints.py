"""Checkpoints of a training: plain tensors and numbers, written whole or not at all, and read as they were written.

A checkpoint is a file of torch's, a zip archive, whose comment is the SHA-256 of all bytes before it.
"""

import hashlib
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kd.errors import UserError, is_full, reason
from kd.machine.files import write_whole
from kd.machine.paths import open_file

UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError),
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
)
"""Errors of reading bytes that are damaged, or that torch did not write."""


_LENGTH_BYTES = 2
_COMMENT = struct.Struct("<H64s")
"""The end of an archive: the length of its comment, and the comment."""


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint; a reader, or a kill in the middle, never meets half of one.

    Raises:
        OSError: the disk is full; the file is left as it was.
        UserError: it can't be written for another reason; the same.
    """
    content = io.BytesIO()  # torch, writing a file itself, reports a full disk as an "unexpected pos"
    torch.save(dict(state), content)
    archive = content.getbuffer()[:-_LENGTH_BYTES]
    try:
        write_whole(path, archive, _comment(archive))
    except OSError as error:
        if is_full(error):
            raise
        raise UserError(
            f"no place for the checkpoint {path.name} in {path.parent} ({reason(error)}): mend that or name another folder"
        ) from error


def load(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint onto the CPU without running any code of it; None: there is none that is as it was written."""
    try:
        with open_file(path) as file:
            content = memoryview(file.read())
        if content[-_COMMENT.size :] != _comment(content[: -_COMMENT.size]):  # torch.load looks at no checksum
            return None
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except UNREADABLE:
        return None
    return state if isinstance(state, dict) else None


def _comment(archive: memoryview) -> bytes:
    digest = hashlib.sha256(archive).hexdigest().encode()
    return _COMMENT.pack(len(digest), digest)
