"""Models from the tracking store, loaded as data: of all files that lie there, two are read, and none is run."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kd.errors import UserError, reason
from kd.machine.files import file_digest
from kd.nets.exported import Exported, read_program
from kd.specialists.kind import TaskKind
from kd.tracking.store import MODEL_FILE, FetchedModel, fetch_model

_OUTPUTS = ("logits", "probabilities")


@dataclass(frozen=True)
class LoadedModel:
    """A model of the tracking store, with the facts that kd logged beside it."""

    module: Exported
    run_id: str
    metadata: dict[str, Any]


def load_model(reference: str) -> LoadedModel:
    """Load the model of a run (``RUN_ID``) or of the registry (``models:/NAME@ALIAS``), on the CPU.

    A command's parent run stands for the model that the command was run for. A model that gives probabilities, such as a
    combined one, gives their logarithms here, which are logits too.

    Raises:
        UserError: there is no such run or model, kd did not log it, or a file of it was damaged or altered.
    """
    with tempfile.TemporaryDirectory() as folder:
        fetched = fetch_model(reference, Path(folder))
        facts = _facts(fetched, reference)
        path = fetched.folder / MODEL_FILE
        if not path.is_file():
            raise UserError(f"{reference}: its model's file {MODEL_FILE} is missing; name another run")
        if fetched.sha256 is not None and file_digest(path) != fetched.sha256:
            raise UserError(f"{reference}: its model's file is not the one that was logged; name another run")
        try:
            program = read_program(path)
        except UserError as error:
            raise UserError(
                f"{reference}: its model can't be read ({reason(error.__cause__ or error)}); name another run"
            ) from None
    module = Exported(program, logarithm=facts["outputs"] == "probabilities")
    return LoadedModel(module, fetched.run_id or facts["run_id"], facts)


def _facts(fetched: FetchedModel, reference: str) -> dict[str, Any]:
    """Return the facts beside a model, each of the type that it must have.

    Raises:
        UserError: they can't be read, or they are not those of a model of kd's.
    """
    try:
        stored = yaml.safe_load((fetched.folder / "MLmodel").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{reference}: its file MLmodel can't be read ({reason(error)}); name another run") from None
    found = stored if isinstance(stored, dict) else {}
    metadata = found.get("metadata")
    facts = metadata if isinstance(metadata, dict) else {}
    if "classes" not in facts:
        raise UserError(f"{reference}: not a model that kd logged; name a run of kd teacher, student or pipeline")
    facts = {"run_id": str(found.get("run_id")), **facts}
    expected = _EXPECTED if facts.get("kind") == TaskKind.ALL else {**_EXPECTED, **_EXPECTED_OF_SPECIALISTS}
    for name, holds in expected.items():
        if not holds(facts.get(name)):
            raise UserError(f"{reference}: its file MLmodel has no {name} of a model of kd's; name another run")
    return facts


def _all_are(kind: type, value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, kind) and not isinstance(one, bool) for one in value)


_EXPECTED: Mapping[str, Callable[[Any], bool]] = {
    "role": lambda value: isinstance(value, str),
    "kind": lambda value: value in set(TaskKind),
    "outputs": lambda value: value in _OUTPUTS,
    "classes": lambda value: _all_are(str, value),
    "image_shape": lambda value: _all_are(int, value) and len(value) == 3,  # noqa: PLR2004 - channels, height, width
    "data_digest": lambda value: isinstance(value, str),
}
_EXPECTED_OF_SPECIALISTS: Mapping[str, Callable[[Any], bool]] = {
    "group": lambda value: _all_are(int, value),
    "own_fraction": lambda value: isinstance(value, int | float) and 0 < value <= 1,
}
