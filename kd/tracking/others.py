"""Models of others in the tracking store and the registry: which of their files is the model, and the run that has it."""

from pathlib import Path

from kd.distillation.pretrained import SUFFIXES
from kd.distillation.saved import MODEL_NAME
from kd.errors import UserError
from kd.machine.text import listed, printable

REGISTRY = "models:/"
RUNS = "runs:/"


def is_model_file(name: str) -> bool:
    """Return whether a model is named by the path of a file, or of its folder below ``models/``."""
    if name.startswith((RUNS, REGISTRY)):
        return False
    if name.lower().endswith(SUFFIXES):
        return True
    try:
        return Path(name, MODEL_NAME).expanduser().is_file()
    except (OSError, RuntimeError):  # longer than any file's name, or in the home of nobody
        return False


def file_of_model(folder: Path, reference: str) -> Path:
    """Return the one file of a model of others: a program, an ONNX file, or a state dict, whichever comes first.

    Raises:
        UserError: there is none, or there are several of one kind.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    if folder.is_file():
        files = [folder]
    for suffix in SUFFIXES:
        found = [path for path in files if path.suffix.lower() == suffix]
        if len(found) > 1:
            names = listed(printable(str(path.relative_to(folder))) for path in found)
            raise UserError(f"{reference}: it has several models ({names}); name one: runs:/RUN_ID/PATH{suffix}")
        if found:
            return found[0]
    names = listed(printable(path.name) for path in files) or "none"
    raise UserError(f"{reference}: none of its files ({names}) is a model that kd reads, which ends in {', '.join(SUFFIXES)}")
