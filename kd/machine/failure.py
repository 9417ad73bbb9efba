"""Why a command failed, in one line: what a user, a file, the machine or a network can cause, and, in a file, kd's own bugs."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from kd.errors import RunError, is_full, reason
from kd.machine.terminal import shown, shown_traceback

AGAIN = "run the same command again, which resumes"
_NO_SPACE = ("no space left on device", "disk quota exceeded", "database or disk is full")
_LITTLE_BYTES = 2**20
_NO_MEMORY = ("can't allocate memory", "out of memory", "not enough memory", "cannot allocate memory")
_NO_THREAD = ("can't start new thread",)
_STORE = ("mlflow.exceptions.MlflowException", "requests.exceptions.RequestException")
_DATABASE = ("sqlalchemy.exc.SQLAlchemyError", "optuna.exceptions.OptunaError")

_CAUSES: tuple[tuple[Callable[[BaseException], bool], Callable[[BaseException], str], str], ...] = (
    (
        lambda error: (isinstance(error, OSError) and is_full(error)) or bool(_line_with(error, _NO_SPACE)),
        lambda error: _where_full(error),  # noqa: PLW0108 - it is defined below
        f"the disk is full ({{}}): free some space, and {AGAIN}",
    ),
    (
        lambda error: is_out_of_memory(error),  # noqa: PLW0108 - it is defined below
        reason,
        f"out of memory ({{}}): give a smaller batch size, width or image size, or fewer workers; or free some, and {AGAIN}",
    ),
)
"""Causes that libraries may have wrapped in errors of their own, each with what was the matter, and its line."""
_KINDS: tuple[tuple[Callable[[BaseException], bool], str], ...] = (
    (lambda error: isinstance(error, RunError), "{}"),
    (
        lambda error: _says(error, _NO_THREAD),
        "no further thread can be started ({}): free some memory, raise `ulimit -u`, or give fewer workers",
    ),
    (lambda error: _is_a(error, _STORE), f"MLflow's tracking store failed ({{}}): when it can be used again, {AGAIN}"),
    (lambda error: _is_a(error, _DATABASE), f"a database failed ({{}}): when it can be used again, {AGAIN}"),
    (lambda error: isinstance(error, ModuleNotFoundError), f"a package is missing ({{}}): install it with pip, and {AGAIN}"),
    (lambda error: isinstance(error, OSError), f"{{}}: mend that, and {AGAIN}"),
)
"""Kinds of errors that a user, a file, the machine or a network can cause, each with its line."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there is no memory left, of the machine or of an accelerator."""
    return isinstance(error, MemoryError) or _says(error, _NO_MEMORY)


def failure_line(error: BaseException) -> str:
    """Return a line about an error that ended a command: the cause, and what to do; without secrets.

    An error that nothing outside of kd can have caused is a bug of kd's: its traceback is written to a file in the folder
    for temporary files, whose path the line names.
    """
    expected = _expected_line(error)
    return _bug_line(error) if expected is None else shown(expected)


def _expected_line(error: BaseException) -> str | None:
    """Return the line of an error that a user, a file, the machine or a network can cause; None: it is of another kind."""
    if _is_nowhere():
        return (
            f"the working folder was removed ({reason(error)}): make it again with what was in it, or begin anew in another one"
        )
    for matches, told, line in _CAUSES:
        for cause in _chain(error):
            if matches(cause):
                return line.format(told(cause))
    return next((line.format(reason(error)) for matches, line in _KINDS if matches(error)), None)


def _is_nowhere() -> bool:
    """Return whether the working folder is gone."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and what it was raised from or after."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _line_with(error: BaseException, words: Sequence[str]) -> str:
    """Return the line of an error's message that has some words: MLflow tells the errors of others in its own, line by line."""
    lines = (" ".join(line.split()) for line in str(error).splitlines())
    return next((line for line in lines if any(word in line.lower() for word in words)), "")


def _where_full(error: BaseException) -> str:
    """Return an error of a full disk with the file that it was met at or, where it names none, the folders that are full."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.strerror}: {error.filename2 or error.filename}"  # of a copy the second one is written
    told = reason(error) if isinstance(error, OSError) else _line_with(error, _NO_SPACE)
    full = [] if os.sep in told else _full_folders()
    return f"{told}: {', '.join(full)}" if full else told


def _full_folders() -> list[str]:
    """Return which of the working folder, the folders in it and that of temporary files lie on a disk that is full."""
    with suppress(OSError):
        here = Path.cwd()
        places = [here, *sorted(place for place in here.iterdir() if place.is_dir()), Path(tempfile.gettempdir())]
        full = {place.stat().st_dev: str(place) for place in reversed(places) if shutil.disk_usage(place).free < _LITTLE_BYTES}
        return [*reversed(full.values())]
    return []


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
