"""Paths that a user names: made absolute, refused where there can be none, and opened where there is a file."""

import errno
import io
import os
import stat
from pathlib import Path

from kd.errors import UserError, reason


def user_path(path: str | Path, field: str) -> Path:
    """Return a path of the user's as an absolute one; ``~`` is the user's home, ``~name`` another one's.

    Raises:
        UserError: there is no user of that name, or no such path can be, since a name in it is too long, say.
    """
    try:
        found = Path(path).expanduser().absolute()
    except RuntimeError:
        raise UserError(f"{path}: no user has such a home folder; name another folder", field=field) from None
    try:
        exists(found)
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        why = error.strerror if isinstance(error, OSError) else reason(error)
        raise UserError(f"{found}: can't be used ({why}); give another path", field=field) from None
    return found


def exists(path: Path) -> bool:
    """Return whether there is a file or folder of some path.

    Raises:
        OSError: that can't be said: a name in it is too long, or a folder may not be looked into.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def check_file(path: Path) -> None:
    """Refuse what is no file but a folder, or a pipe or a device, where a reader may wait for ever.

    Raises:
        OSError: it is no file, or it is missing.
    """
    if stat.S_ISDIR(mode := path.stat().st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a pipe or a device, and no file", str(path))


def open_file(path: Path) -> io.BufferedReader:
    """Open a file to be read.

    Raises:
        OSError: it is missing, can't be read, or is no file.
    """
    check_file(path)
    return path.open("rb")
