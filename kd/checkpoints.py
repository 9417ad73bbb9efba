"""Checkpoints of a training: plain tensors and numbers, written whole or not at all, found again by fingerprint."""

import hashlib
import json
import pickle
import platform
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import kd

# The code on which a trained net depends: another version of it makes another fingerprint.
_CODE = (
    "augment",
    "data",
    "distil",
    "evaluate",
    "folder",
    "initial",
    "losses",
    "models",
    "muon",
    "sources",
    "specialists",
    "targets",
    "tasks",
    "teachers",
    "tracked_training",
    "train",
)

UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError),
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
)
"""What reading bytes that torch did not write, or damaged ones, can end in."""


def fingerprint(facts: Mapping[str, object]) -> str:
    """Return 32 hex digits over what decides a training's result: the facts given, and the code that trains.

    Args:
        facts: names and values, e.g. the data set's digest, net, recipe and seed; told as JSON, so order is no matter.
    """
    folder = Path(kd.__file__).parent
    code = hashlib.sha256()
    for module in _CODE:
        code.update((folder / f"{module}.py").read_bytes())
    text = json.dumps({**facts, "code": code.hexdigest()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


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
