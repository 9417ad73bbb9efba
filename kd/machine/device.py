"""The device that a command computes on."""

import torch

from kd.errors import UserError


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is CUDA where there is one.

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
        raise UserError(f"{name}: expected auto, cpu, cuda or cuda:N", field="device")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"{name}: this machine has {torch.cuda.device_count()} CUDA devices; use cpu", field="device")
    return device
