"""Checkpoints of a training: plain tensors and numbers, written whole or not at all."""

import pickle
import platform
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError),
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
)
"""What reading bytes that torch did not write, or damaged ones, can end in."""


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint; a reader, or a kill in the middle, never meets half of one. One process at a time may write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Always the same on one machine: what a kill left goes with the next checkpoint.
    partial = path.with_name(f"{path.name}.{platform.node()}.tmp")
    try:
        torch.save(dict(state), partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


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
