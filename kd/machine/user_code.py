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
INSTALLED = "site-packages"
"""Folder of packages, which a user's own folder may hold too."""


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
        advice = _path_advice(place, error)
        raise UserError(f"{name}: {place} can't be imported ({reason(error)}){advice}", field=field) from error
    function = getattr(module, rest, None)
    if not callable(function):
        own = [word for word, value in vars(module).items() if callable(value) and not word.startswith("_")]
        alike = difflib.get_close_matches(rest, own, n=SHOWN)
        advice = f"; did you mean {' or '.join(alike)}?" if alike else ""
        raise UserError(f"{name}: {place} has no function {rest}{advice}", field=field)
    return function, _source_of(module)


def _path_advice(place: str, error: Exception) -> str:
    """Return what to do where what is not found lies beside the file, or in the folder of now; empty: it does not."""
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    folder = Path(place).expanduser().resolve().parent if place.endswith(".py") else Path.cwd()
    there = missing and ((folder / f"{missing}.py").is_file() or (folder / missing).is_dir())
    return f"; {missing} lies in {folder}: set PYTHONPATH={folder}" if there else ""


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
    """Return a digest of the file of a module, and of those of its folder or package that it uses: an edited one is another."""
    if not getattr(module, "__file__", None):
        return module.__name__
    top = sys.modules.get(module.__name__.partition(".")[0], module)
    folder = Path(getattr(top, "__file__", None) or str(module.__file__)).resolve().parent
    used = _used(module, folder, {module.__name__})
    digests = [_loaded_digest(module), *(_loaded_digest(used[name]) for name in sorted(used))]
    return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _used(module: ModuleType, folder: Path, seen: set[str]) -> dict[str, ModuleType]:
    """Return the modules below a folder, by name, that a module, or one that it uses, has among its names or something of."""
    found: dict[str, ModuleType] = {}
    for value in list(vars(module).values()):
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if not isinstance(name, str) or name in seen or name not in sys.modules:
            continue
        seen.add(name)
        other = sys.modules[name]
        if _is_below(folder, getattr(other, "__file__", None)):
            found |= {name: other, **_used(other, folder, seen)}
    return found


def _is_below(folder: Path, file: str | None) -> bool:
    path = Path(file or "").resolve()
    return path.is_file() and path.is_relative_to(folder) and INSTALLED not in path.relative_to(folder).parts


def _loaded_digest(module: ModuleType) -> str:
    """Return the digest that the file of a module had when it was first asked for: what was imported stays what it was."""
    digest = hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest()
    known: dict[str, str] = vars(module.__spec__) if module.__spec__ else {}  # a module that is reloaded has a new one
    return known.setdefault("kd_digest", digest)
