"""What has to be installed where a logged model is served."""

import json
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import kd
from kd.tracking.checkout import published

_PINNED = ("mlflow", "torch", "numpy", "pillow")
"""Packages that decide how a model answers, and are asked for in the versions of now."""


def pinned(package: str) -> str:
    """Return the version of an installed package that an index has."""
    return version(package).split("+")[0]  # a local version such as 2.14.1+cpu is on none


def requirements() -> list[str]:
    """Return the requirements of a logged model, as pip takes them: the libraries that it was made with, and kd."""
    return [*(f"{package}=={pinned(package)}" for package in _PINNED), *_own()]


def _own() -> list[str]:
    """Return where pip finds this kd; none: it is nowhere to be installed from.

    A bare name would be that of somebody else's package on an index.
    """
    project = Path(kd.__file__).parents[1]
    if (project / "pyproject.toml").is_file():
        return [f"kd @ {published() or project.as_uri()}"]
    try:
        found = distribution("kd").read_text("direct_url.json")
    except PackageNotFoundError:
        return []
    if found is None:  # it came from an index
        return [f"kd=={kd.__version__}"]
    origin = json.loads(found)
    tool = origin.get("vcs_info")
    return [f"kd @ {tool['vcs']}+{origin['url']}@{tool['commit_id']}" if tool else f"kd @ {origin['url']}"]
