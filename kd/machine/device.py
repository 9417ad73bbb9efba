"""The device that a command computes on."""

import torch

from kd.errors import UserError


def resolve_device(name: str) -> torch.device:
    """Return the device of ``--device``; ``auto`` is CUDA where there is one.

    Raises:
        UserError: no such kind of device, or none on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in {"cpu", "cuda"}:
        raise UserError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices; use --device cpu")
    return device
