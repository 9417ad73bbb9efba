"""Why a command failed, in one line: what a user, a file, the machine or a network can cause, and, in a file, kd's own bugs."""

import errno
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from kd.errors import RunError, reason
from kd.machine.terminal import shown, shown_traceback

AGAIN = "run the same command again, which resumes"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_MEMORY = ("can't allocate memory", "out of memory", "not enough memory", "cannot allocate memory")
_NO_THREAD = ("can't start new thread",)
_STORE = ("mlflow.exceptions.MlflowException", "requests.exceptions.RequestException")
_DATABASE = ("sqlalchemy.exc.SQLAlchemyError", "optuna.exceptions.OptunaError")

_CAUSES: tuple[tuple[Callable[[BaseException], bool], str], ...] = (
    (
        lambda error: isinstance(error, OSError) and error.errno in _FULL,
        f"the disk is full ({{}}): free some space, and {AGAIN}",
    ),
    (
        lambda error: isinstance(error, MemoryError) or _says(error, _NO_MEMORY),
        "out of memory ({}): give a smaller batch size, width or image size, or fewer workers",
    ),
)
"""Causes that libraries may have wrapped in errors of their own, each with its line."""
_KINDS: tuple[tuple[Callable[[BaseException], bool], str], ...] = (
    (lambda error: isinstance(error, RunError), "{}"),
    (lambda error: _says(error, _NO_THREAD), "no further thread can be started ({}): raise `ulimit -u`, or give fewer workers"),
    (lambda error: _is_a(error, _STORE), f"MLflow's tracking store failed ({{}}): when it can be used again, {AGAIN}"),
    (lambda error: _is_a(error, _DATABASE), f"a database failed ({{}}): when it can be used again, {AGAIN}"),
    (lambda error: isinstance(error, ModuleNotFoundError), f"a package is missing ({{}}): install it with pip, and {AGAIN}"),
    (lambda error: isinstance(error, OSError), f"{{}}: mend that, and {AGAIN}"),
)
"""Kinds of errors that a user, a file, the machine or a network can cause, each with its line."""


def failure_line(error: BaseException) -> str:
    """Return a line about an error that ended a command: the cause, and what to do; without secrets.

    An error that nothing outside of kd can have caused is a bug of kd's: its traceback is written to a file in the folder
    for temporary files, whose path the line names.
    """
    expected = _expected_line(error)
    return _bug_line(error) if expected is None else shown(expected)


def _expected_line(error: BaseException) -> str | None:
    """Return the line of an error that a user, a file, the machine or a network can cause; None: it is of another kind."""
    for matches, line in _CAUSES:
        for cause in _chain(error):
            if matches(cause):
                return line.format(reason(cause))
    return next((line.format(reason(error)) for matches, line in _KINDS if matches(error)), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and what it was raised from or after."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _says(error: BaseException, words: Sequence[str]) -> bool:
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


def _is_a(error: BaseException, names: Sequence[str]) -> bool:
    """Return whether an error is of one of some classes of libraries, which need not be imported for that."""
    return not {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}.isdisjoint(names)


def _bug_line(error: BaseException) -> str:
    name, why = type(error).__name__, reason(error)
    told = shown(why if why.startswith(name) else f"{name}: {why}")
    with suppress(OSError):
        return f"a bug of kd's ({told}): please report it with the file {_write_details(error)}"
    return f"a bug of kd's ({told}); its traceback could not be written to {tempfile.gettempdir()}"


def _write_details(error: BaseException) -> Path:
    """Write an error's traceback to a new file that nobody else can read, and return its path."""
    descriptor, path = tempfile.mkstemp(prefix="kd-error-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"kd on Python {sys.version}\n{shown_traceback(error)}\n")
    return Path(path)
