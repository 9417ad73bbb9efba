"""Models from the tracking store, loaded as data: of all files that lie there, two are read, and none is run."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from kd.distillation.model_facts import PREPARATION, outputs_of, wrong_fact
from kd.errors import UserError, reason
from kd.machine.files import file_digest
from kd.machine.yaml_text import read_yaml
from kd.nets.exported import read_model
from kd.specialists.kind import TaskKind
from kd.tracking.fetch import FetchedModel, fetch_model
from kd.tracking.outbox.delivery import FACTS_FILE
from kd.tracking.store import MODEL_FILE

_FACTS = ("role", "kind", "outputs", "classes", "image_shape", "data_digest", "held_out_digest")
_FACTS_OF_SPECIALISTS = ("group", "own_fraction")


@dataclass(frozen=True)
class LoadedModel:
    """A model of the tracking store, with the facts that kd logged beside it."""

    module: nn.Module
    run_id: str
    metadata: dict[str, Any]


def load_model(reference: str, field: str) -> LoadedModel:
    """Load the model of a run (``RUN_ID``) or of the registry (``models:/NAME@ALIAS``), on the CPU.

    A command's parent run stands for the model that the command was run for. A model that gives probabilities, such as a
    combined one, gives their logarithms here, which are logits too.

    Args:
        reference: the run or model.
        field: the setting that named it.

    Raises:
        UserError: there is no such run or model, kd did not log it, or a file of it was damaged or altered.
    """
    with tempfile.TemporaryDirectory() as folder, told_of(field):
        return read_fetched(fetch_model(reference, Path(folder)), reference)


@contextmanager
def told_of(field: str) -> Iterator[None]:
    """Name the setting that named a model in errors of reading it."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error), field=field) from error.__cause__


def is_kds(fetched: FetchedModel) -> bool:
    """Return whether kd logged a model: its run says so, or the facts beside it."""
    if fetched.sha256 is not None:
        return True
    try:
        return "classes" in _metadata(fetched)
    except (OSError, ValueError):
        return False


def read_fetched(fetched: FetchedModel, reference: str) -> LoadedModel:
    """Read a model of kd's.

    Raises:
        UserError: kd did not log it, or a file of it was damaged or altered.
    """
    path = fetched.folder / MODEL_FILE
    for file, digest in ((path, fetched.sha256), (fetched.folder / FACTS_FILE, fetched.facts_sha256)):
        _check_file(file, digest, reference)
    facts = _facts(fetched, reference)
    try:
        module = read_model(
            path,
            facts["image_shape"],
            outputs_of(facts["kind"], facts.get("group", []), facts["classes"]),
            logarithm=facts["outputs"] == "probabilities",
        )
    except UserError as error:
        raise UserError(
            f"{reference}: its model can't be read ({reason(error.__cause__ or error)}); name another run"
        ) from None
    return LoadedModel(module, fetched.run_id, facts)


def _check_file(path: Path, digest: str | None, reference: str) -> None:
    """Refuse a model of which a file is missing, or is not the one that was logged."""
    try:
        found = file_digest(path)
    except OSError as error:
        raise UserError(f"{reference}: its model's file {path.name} is missing ({error.strerror}); name another run") from None
    if digest not in {None, found}:
        raise UserError(f"{reference}: its model's file {path.name} is not the one that was logged; name another run")


def _facts(fetched: FetchedModel, reference: str) -> dict[str, Any]:
    """Return the facts beside a model, each of the type that it must have.

    Raises:
        UserError: they can't be read, or they are not those of a model of kd's.
    """
    try:
        facts = _metadata(fetched)
    except (OSError, ValueError) as error:
        raise UserError(f"{reference}: its file {FACTS_FILE} can't be read ({reason(error)}); name another run") from None
    facts.setdefault("held_out_digest", "")  # models of before have none
    if "classes" not in facts:
        raise UserError(
            f"{reference}: not a model that kd logged; name a run of kd teacher, student or pipeline, "
            "or the file of a model: runs:/RUN_ID/PATH.pt2"
        )
    known = [name for name in PREPARATION if name in facts]  # models of before have none
    wrong = wrong_fact(facts, [*_FACTS, *known]) or (
        "" if facts["kind"] == TaskKind.ALL else wrong_fact(facts, _FACTS_OF_SPECIALISTS)
    )
    if wrong:
        raise UserError(f"{reference}: its file {FACTS_FILE} has no {wrong} of a model of kd's; name another run")
    return facts


def _metadata(fetched: FetchedModel) -> dict[str, Any]:
    """Return what stands beside a model, whatever it is.

    Raises:
        OSError: there is no such file.
        ValueError: it is no YAML.
    """
    stored = read_yaml((fetched.folder / FACTS_FILE).read_text(encoding="utf-8"))
    metadata = stored.get("metadata") if isinstance(stored, dict) else None
    return metadata if isinstance(metadata, dict) else {}
