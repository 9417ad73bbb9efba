"""The provenance of a result: the code's commit, the libraries' versions, the machine."""

import platform
import subprocess
from pathlib import Path

import torch

import kd
from kd.tracking.requirements import pinned


def provenance() -> dict[str, str]:
    """Return the tags that every run has: git commit, whether the tree was dirty, versions."""
    return {
        "kd.git_commit": _git("rev-parse", "HEAD") or "none",
        "kd.git_dirty": {"": "false", None: "unknown"}.get(_git("status", "--porcelain"), "true"),
        "kd.version": kd.__version__,
        "kd.python": platform.python_version(),
        **{f"kd.{package}": pinned(package) for package in ("mlflow", "torch", "numpy")},
    }


def device_tag(device: torch.device) -> str:
    """Return a device as the text of a tag: its name, the processor's, and the number of threads."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return f"{device} ({name}, {torch.get_num_threads()} threads)"


def _git(*arguments: str) -> str | None:
    """Return git's answer about the checkout that kd runs from; None where there is no checkout or no git."""
    folder = Path(kd.__file__).parent
    try:
        done = subprocess.run(  # noqa: S603 - the arguments are those above
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
