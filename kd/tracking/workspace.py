"""The workspace of a command: data, device and folders, checked before any run is opened."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from kd.data.dataset import Dataset
from kd.errors import UserError, reason
from kd.machine.device import resolve_device
from kd.machine.memory import keep_freed_memory
from kd.machine.paths import user_path
from kd.tracking.provenance import device_tag, provenance


@dataclass(frozen=True, eq=False)
class Workspace:
    """Data, device and folders, shared by all trainings of one command."""

    command: str
    dataset: Dataset
    device: torch.device
    output_dir: Path
    tags: Mapping[str, str]
    """Tags of every run, to filter by: a filter on a parent's params hides its children."""
    resume: bool = True
    """Whether a training resumes from the checkpoint of a stopped run of the same training."""


FOLDERS = ("models", "checkpoints", "figures", "targets", "reports", "results", "outbox")
"""The folders below the output folder that kd writes to."""


def open_workspace(command: str, dataset: Dataset, device: str, output_dir: Path, *, resume: bool) -> Workspace:
    """Return the workspace of a command.

    Args:
        command: name of the command, for the tags of its runs.
        dataset: the images.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        output_dir: folder under which files are written, as :func:`output_folder` returns it.
        resume: whether trainings resume from checkpoints.

    Raises:
        UserError: there is no such device.
    """
    on = resolve_device(device)
    if on.type == "cpu":
        keep_freed_memory()
    tags = {
        "kd.command": command,
        "kd.data": dataset.name,
        "kd.data_digest": dataset.digest,
        **provenance(),
        "kd.device": device_tag(on),
    }
    return Workspace(command, dataset, on, output_dir, tags, resume)


def output_folder(output_dir: str | Path) -> Path:
    """Return an output folder that can be written to, made where it is missing; ``~`` is the user's home.

    Raises:
        UserError: it, or a folder below it, can't be made or written to.
    """
    folder = user_path(output_dir, "output_dir")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: can't be made ({reason(error)}); name another folder", field="output_dir") from None
    for used in (folder, *(folder / name for name in FOLDERS)):
        if os.path.lexists(used) and not (used.is_dir() and os.access(used, os.W_OK | os.X_OK)):
            raise UserError(f"{used}: no folder that can be written to; name another folder", field="output_dir")
    return folder


def check_space(folder: Path, need_bytes: int) -> None:
    """Refuse a disk that has less room than what will be written.

    Raises:
        UserError: it has less.
    """
    free = shutil.disk_usage(folder).free
    if free < need_bytes:
        raise UserError(
            f"{folder}: {free:,} bytes are left on the disk, and at least {need_bytes:,} will be written; free some space, or "
            "name another folder",
            field="output_dir",
        )
