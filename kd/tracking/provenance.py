"""The provenance of a result: the code's commit, the libraries' versions, the machine."""

import platform

import torch

import kd
from kd.tracking.checkout import git
from kd.tracking.requirements import pinned


def provenance() -> dict[str, str]:
    """Return the tags that every run has: git commit, whether the tree was dirty, versions."""
    return {
        "kd.git_commit": git("rev-parse", "HEAD") or "none",
        "kd.git_dirty": {"": "false", None: "unknown"}.get(git("status", "--porcelain"), "true"),
        "kd.version": kd.__version__,
        "kd.python": platform.python_version(),
        **{f"kd.{package}": pinned(package) for package in ("mlflow", "torch", "numpy")},
    }


def device_tag(device: torch.device) -> str:
    """Return a device as the text of a tag: its name, the processor's, and the number of threads."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return f"{device} ({name}, {torch.get_num_threads()} threads)"
