"""What a command works with: data, device and folders, checked before any run is opened."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from kd.config import DataConfig
from kd.data.dataset import Dataset
from kd.data.load import load_dataset
from kd.errors import UserError, reason
from kd.machine.device import resolve_device
from kd.machine.memory import keep_freed_memory
from kd.tracking.provenance import provenance


@dataclass(frozen=True, eq=False)
class Setting:
    """What every training of one command shares."""

    command: str
    dataset: Dataset
    device: torch.device
    output_dir: Path
    tags: Mapping[str, str]
    """Tags of every run: by these one filters, since a filter on a parent's params hides its children."""


def prepare(command: str, config: DataConfig) -> Setting:
    """Load the data and look at everything that a command needs.

    Raises:
        UserError: the data can't be had, there is no such device, a batch is larger than the training split, a
            shift than an image, or the output folder can't be written to.
    """
    device = resolve_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    output_dir = _writable(Path(config.output_dir))
    dataset = load_dataset(
        config.data,
        config.data_root,
        image_px=config.image_px,
        val_fraction=config.val_fraction,
        seed=config.data_seed,
    )
    for name, size in config.batch_sizes().items():
        if size > len(dataset.train):
            raise UserError(f"--{name.replace('_', '-')} {size}: the training split has only {len(dataset.train)} images")
    least_px = min(dataset.image_shape[1:])
    for name, shift in config.shifts().items():
        if shift >= least_px:
            raise UserError(f"--{name.replace('_', '-')} {shift}: images of {least_px} px can only be shifted by fewer")
    tags = {
        "kd.command": command,
        "kd.data": dataset.name,
        "kd.data_digest": dataset.digest,
        **provenance(device),
    }
    return Setting(command, dataset, device, output_dir, tags)


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output-dir {folder}: can't be made ({reason(error)}); name another folder") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"--output-dir {folder}: can't be written to; name another folder")
    return folder
