"""Functions of the user's own, in a file or a package.

Such a function is code that runs. Its name is taken from whoever calls the library or types a command, never from a run, a
model, a study or a checkpoint.
"""

import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from kd.errors import UserError, reason
from kd.machine.paths import user_path

SHOWN = 3
"""Names that are proposed in place of one that there is not."""


def user_function(name: str, field: str) -> tuple[Callable[..., Any], str]:
    """Return a function by its name, and a digest of the file that it is in.

    Args:
        name: ``package.module:function`` or ``path/to/file.py:function``.
        field: the setting that named it.

    Raises:
        UserError: there is no such package, file or function, or it can't be imported.
    """
    place, _, rest = name.rpartition(":")
    try:
        module = _module_of_file(place, field) if place.endswith(".py") else importlib.import_module(place)
    except UserError:
        raise
    except Exception as error:  # the code of others raises anything
        raise UserError(f"{name}: {place} can't be imported ({reason(error)})", field=field) from error
    function = getattr(module, rest, None)
    if not callable(function):
        own = [word for word, value in vars(module).items() if callable(value) and not word.startswith("_")]
        alike = difflib.get_close_matches(rest, own, n=SHOWN)
        advice = f"; did you mean {' or '.join(alike)}?" if alike else ""
        raise UserError(f"{name}: {place} has no function {rest}{advice}", field=field)
    return function, _source_of(module)


def _module_of_file(place: str, field: str) -> ModuleType:
    """Import a file under a name of its own: equal names of files in two folders are two modules."""
    path = user_path(place, field)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give path/to/file.py:function", field=field)
    name = f"kd_{field}_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # noqa: S101 - there is a loader for every name that ends in .py
    assert spec.loader is not None  # noqa: S101 - the same
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where its classes look for themselves
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _source_of(module: ModuleType) -> str:
    """Return a digest of the file of a module: a changed one is another one."""
    file = getattr(module, "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else module.__name__
