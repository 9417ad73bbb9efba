"""A model by any name that a user has for it: a run, one of the registry, a file of a run, or a file on this machine."""

import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd.distillation.loading import load_any, model_file
from kd.distillation.pretrained import About
from kd.distillation.saved import MODEL_NAME, SavedModel, with_facts
from kd.distillation.task import task_classes
from kd.errors import UserError
from kd.machine.activity import doing
from kd.machine.paths import exists, user_path
from kd.nets.names import STATE_DICTS
from kd.specialists.kind import TaskKind
from kd.tracking.others import REGISTRY, RUNS, file_of_model, is_model_file

if TYPE_CHECKING:
    from kd.tracking.models import LoadedModel


_OF_TEACHERS = re.compile(r"\((--teacher-[\w-]+( [A-Z]+)?, )+")
"""Flags that tell of a teacher of others, in messages: kd.load takes the same in Python, which stands behind them."""


@doing("loading the model")
def named_model(reference: str, field: str) -> SavedModel:
    """Load a model, on the CPU.

    A command's parent run stands for the model that the command was run for.

    Args:
        reference: a run (its id, the first 8 characters of it or its name), ``models:/NAME@ALIAS``, ``runs:/RUN_ID/PATH``, or
            a file.
        field: the setting that named it.

    Raises:
        UserError: there is no such model, it can't be read, or it holds weights alone.
    """
    if not reference.strip():
        raise UserError("names no model; give a run, models:/NAME@ALIAS or a file", field=field)
    try:
        return _from_file(model_file(user_path(reference, field))) if is_model_file(reference) else _of_store(reference)
    except UserError as error:
        told = f"{_OF_TEACHERS.sub('(', str(error))}{_here(reference, field)}"
        raise UserError(told, field=field) from error.__cause__


def _here(reference: str, field: str) -> str:
    """Return why what lies on this machine under the name of a run is no model; empty: nothing does, or it is one."""
    if reference.startswith((RUNS, REGISTRY)) or is_model_file(reference):
        return ""
    with suppress(UserError, OSError):  # a name that no file can have
        path = user_path(reference, field)
        if path.is_dir():
            return f"; the folder of that name here holds no {MODEL_NAME}"
        if exists(path):
            return "; the file of that name here is no .pt2 or .onnx"
    return ""


def settings_of(model: SavedModel) -> dict[str, Any]:
    """Return the configuration that the run of a model recorded; empty: its run is not known, or not in the tracking store."""
    from kd.tracking.fetch import fetch_settings  # noqa: PLC0415 - as below
    from kd.tracking.ready import is_made  # noqa: PLC0415 - as below
    from kd.tracking.store import quiet  # noqa: PLC0415

    quiet()
    run_id = model.facts.get("run_id")
    return fetch_settings(run_id) if isinstance(run_id, str) and run_id and is_made() else {}


def _from_file(path: Path) -> SavedModel:
    if path.suffix.lower() in STATE_DICTS:
        raise UserError(f"{path}: holds weights alone; name a .pt2 or .onnx, or load it in Python: kd.load(path, net=...)")
    return load_any(path, About())


def _of_store(reference: str) -> SavedModel:
    # A model in a file needs no MLflow, which is slow to import.
    from kd.tracking.fetch import fetch_file, fetch_model  # noqa: PLC0415
    from kd.tracking.models import is_kds, read_fetched  # noqa: PLC0415
    from kd.tracking.ready import check_ready, is_made, make_tables  # noqa: PLC0415
    from kd.tracking.store import MODEL_FILE, quiet  # noqa: PLC0415

    quiet()
    if not is_made():
        raise UserError(f"{reference}: neither a file of a model nor a run, as no runs are tracked here yet")
    make_tables()
    check_ready()
    with tempfile.TemporaryDirectory() as folder:
        if reference.startswith(RUNS):
            path, _ = fetch_file(reference, Path(folder))
            return _from_file(file_of_model(path, reference))
        fetched = fetch_model(reference, Path(folder))
        if reference.startswith(REGISTRY) and not is_kds(fetched):
            return _from_file(file_of_model(fetched.folder, reference))
        return _saved(read_fetched(fetched, reference), (fetched.folder / MODEL_FILE).stat().st_size)


def _saved(loaded: "LoadedModel", size_bytes: int) -> SavedModel:
    """Return a model of the store as one from a file, with the names of its outputs."""
    facts = loaded.metadata
    classes = task_classes(facts["classes"], facts.get("group", []), TaskKind(facts["kind"]))
    return with_facts(loaded.module, {**facts, "classes": list(classes), "run_id": loaded.run_id}, size_bytes)
