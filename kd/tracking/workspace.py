"""The workspace of a command: data, device and folders, checked before any run is opened."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from kd.data.dataset import Dataset
from kd.errors import UserError, reason
from kd.machine.device import resolve_device
from kd.machine.memory import keep_freed_memory
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


def open_workspace(command: str, dataset: Dataset, device: str, output_dir: str, *, resume: bool) -> Workspace:
    """Return the workspace of a command.

    Args:
        command: name of the command, for the tags of its runs.
        dataset: the images.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        output_dir: folder under which files are written.
        resume: whether trainings resume from checkpoints.

    Raises:
        UserError: there is no such device, or the output folder can't be written to.
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
    return Workspace(command, dataset, on, writable(Path(output_dir)), tags, resume)


def writable(folder: Path) -> Path:
    """Return a folder that can be written to, made where it is missing.

    Raises:
        UserError: it can't be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: can't be made ({reason(error)}); name another folder", field="output_dir") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: can't be written to; name another folder", field="output_dir")
    return folder
