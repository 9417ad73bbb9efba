"""The errors that are told in one line, why any other error was raised, and the codes with which kd exits."""

import errno
import signal

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_TERMINATED = 128 + signal.SIGTERM
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class UserError(Exception):
    """Bad input, described in one line: what was wrong, with the value, and what to do. The command line exits with 2.

    Args:
        message: the line. With a field it begins with the field's value.
        field: the setting that was wrong, such as ``groups``. The command line puts its flag in front of the message; a
            notebook, which has no flags, does not see it.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class RunError(Exception):
    """A failure that is nobody's bad input, described in one line. The command line exits with 1."""


def reason(error: BaseException) -> str:
    """Return why an error was raised, in one line without a full stop, to stand in the parentheses of a message.

    An error of the operating system gives the system's words, with the path where there is one. Others give the first line of
    their message, with their type where that is just a key or a word, or their type alone where it is empty.
    """
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f": {error.filename}"
        return " ".join(f"{error.strerror}{where}".split())
    lines = (" ".join(line.split()).rstrip(".") for line in str(error).splitlines())
    name = type(error).__name__
    line = next(filter(None, lines), "")
    says_it = " " in line and not isinstance(error, KeyError)  # whose text is the key
    return line if says_it else f"{name}: {line}" if line else name


def is_full(error: OSError) -> bool:
    """Return whether an error says that a disk, or what a user may have of it, is full."""
    return error.errno in _FULL
