"""Checkpoints of a training: plain tensors and numbers, written whole or not at all."""

import io
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kd.errors import UserError, reason
from kd.machine.files import write_whole

UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError),
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
)
"""Errors of reading bytes that are damaged, or that torch did not write."""


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint; a reader, or a kill in the middle, never meets half of one.

    Raises:
        UserError: it can't be written; the file is left as it was.
    """
    content = io.BytesIO()  # torch, writing a file itself, reports a full disk as an "unexpected pos"
    torch.save(dict(state), content)
    try:
        write_whole(path, content.getbuffer())
    except OSError as error:
        raise UserError(
            f"no place for the checkpoint {path.name} in {path.parent} ({reason(error)}): mend that or name another folder"
        ) from error


def load(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint onto the CPU without running any code of it; None where there is none that can be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:  # torch.load itself looks at no checksum
                return None
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE:
        return None
    return state if isinstance(state, dict) else None
