"""The checkout that kd runs from, where it was not installed without one."""

import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import kd


def git(*arguments: str) -> str | None:
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


def published() -> str | None:
    """Return the address, as pip takes it, where others find the code of the checkout as it is; None: there is none.

    It is the commit at ``origin``, over https and without a user's name or token, where nothing has changed since and a branch
    of ``origin`` has that commit.
    """
    try:
        origin = urlsplit(git("remote", "get-url", "origin") or "")
    except ValueError:
        return None
    commit, is_whole = git("rev-parse", "HEAD"), git("rev-parse", "--show-prefix") == "kd/"
    if origin.scheme != "https" or not origin.hostname or not commit or not is_whole or git("status", "--porcelain") != "":
        return None
    if not git("branch", "--remotes", "--contains", commit, "--list", "origin/*"):
        return None
    return f"git+https://{origin.netloc.rpartition('@')[2]}{origin.path}@{commit}"
