"""What a command's run and the runs below it have recorded, read back from the tracking store for a report."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run as Entity
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from kd.errors import UserError, reason
from kd.reports.note import SIDE_BY_SIDE
from kd.reports.page.contents import ClassRow, Contents, System
from kd.tracking.earlier import children_of
from kd.tracking.fetch import called
from kd.tracking.store import quiet

TYPED = "kd.typed"
"""Tag: the command that was typed, with the settings that are not the defaults."""
MAX_PICTURED = 12
"""Systems of which a report has figures and classes; of more it has their rows."""
_LINEAGE = {
    "images": "kd.data",
    "digest of the images": "kd.data_digest",
    "kd": "kd.version",
    "commit of kd's code": "kd.git_commit",
    "changed since that commit": "kd.git_dirty",
    "torch": "kd.torch",
    "Python": "kd.python",
    "device": "kd.device",
    "teacher's run": "kd.teacher",
    "digest of the teacher's weights": "kd.teacher_digest",
    "run of the model": "kd.model_run",
}
"""What a lineage names, and the tags that hold it."""


def read_run(reference: str) -> Contents:
    """Return what a command's run recorded.

    Args:
        reference: the run's id, its first 8 characters, or its name.

    Raises:
        UserError: there is no such run, or the store can't be read.
    """
    quiet()
    try:
        return _contents(called(reference))
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise UserError(f"{reference}: can't be read ({reason(error)}); `kd runs` lists the runs", field="runs") from None


def _contents(run: Entity) -> Contents:
    tags = run.data.tags
    with tempfile.TemporaryDirectory() as folder:
        here = _artifacts(run, Path(folder))
        below = [child for child in reversed(children_of(run.info.run_id)) if "kd.role" in child.data.tags]
        systems = [_system(child, Path(folder), pictured=place < MAX_PICTURED) for place, child in enumerate(below)]
        if not below and "kd.group" in tags:  # a command of one net, whose run is the command's
            systems = [_system(run, Path(folder), pictured=True)]
        note = _text(here / "note" / "note.md") or _text(here / "note.md") or tags.get("mlflow.note.content", "")
        first, *rest = note.split("\n\n")
        return Contents(
            title=str(run.info.run_name),
            verdict=first.replace("**", "") or tags.get("kd.verdict", ""),
            command=tags.get(TYPED, ""),
            note="\n\n".join(part for part in rest if not part.startswith(SIDE_BY_SIDE)),
            settings=_text(here / "settings" / "config.yaml") or _text(here / "config.yaml"),
            lineage={name: tags[tag] for name, tag in _LINEAGE.items() if tags.get(tag)} | _models(below or [run]),
            systems=systems,
            figures={} if not below else _pictures(here),
        )


def _system(run: Entity, folder: Path, *, pictured: bool) -> System:
    tags, name = run.data.tags, str(run.info.run_name)
    here = _artifacts(run, folder) if pictured else folder / "none"
    classes = _table(here / "tables" / "3_per_class.json")
    answers = _table(here / "tables" / "1_predictions.json")
    rows = zip(classes.get("class", ()), classes.get("images", ()), classes.get("right", ()), strict=True)
    right = {int(image): yes == "yes" for image, yes in zip(answers.get("image", ()), answers.get("right", ()), strict=True)}
    return System(
        name=_short(name),
        role=tags.get("kd.role", ""),
        seed=tags.get("kd.seed", ""),
        verdict=tags.get("kd.verdict", ""),
        metrics=dict(run.data.metrics),
        classes=[ClassRow(str(label), int(images), int(correct)) for label, images, correct in rows],
        right=right or None,
        figures=_pictures(here),
    )


def _short(name: str) -> str:
    """Return a run's name without the settings behind it, but for its seed."""
    words = name.split()
    kept = [word for word in words if "=" not in word]
    return " ".join(kept[:-1] if len(kept) > 1 and len(kept) < len(words) and kept[-1] in {"resnet", "pooled"} else kept)


def _artifacts(run: Entity, folder: Path) -> Path:
    """Fetch a run's small artifacts into a folder of its own, and return it."""
    here = folder / str(run.info.run_id)
    here.mkdir(exist_ok=True)
    client = mlflow.MlflowClient()
    for file in client.list_artifacts(run.info.run_id):
        if file.path in {"figures", "tables", "note", "settings", "note.md", "config.yaml"}:
            client.download_artifacts(run.info.run_id, file.path, str(here))
    return here


def _pictures(here: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted((here / "figures").glob("*.png"))}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _table(path: Path) -> Mapping[str, list[Any]]:
    """Return the columns of a table; none where there is no such table, or it is of another form."""
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return dict(zip(found["columns"], map(list, zip(*found["data"], strict=True)), strict=False))


def _models(runs: list[Entity]) -> dict[str, str]:
    digests = {_short(str(run.info.run_name)): run.data.tags.get("kd.model_sha256", "") for run in runs}
    return {f"SHA-256 of {name}'s model": digest for name, digest in digests.items() if digest}
