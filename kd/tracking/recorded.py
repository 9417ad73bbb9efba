"""What a command's run and the runs below it have recorded, read back from the tracking store for a report."""

import json
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run as Entity
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from kd.distillation.task import DUSTBIN
from kd.errors import UserError, reason
from kd.machine.text import printable
from kd.reports.note import SIDE_BY_SIDE
from kd.reports.page.contents import WITH_DUSTBIN, ClassRow, Contents, System, is_picture
from kd.tracking.earlier import children_of, find_run
from kd.tracking.fetch import called, is_called
from kd.tracking.store import quiet

log = logging.getLogger("kd")

TYPED = "kd.typed"
"""Tag: the command that was typed, with the settings that are not the defaults."""
MAX_PICTURED = 12
"""Systems of which a report has figures and classes; of more it has their rows."""
_ID = re.compile("[0-9a-f]{8,32}")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
"""A link in Markdown."""
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


def named_runs(text: str) -> list[str]:
    """Return the runs that a text names: one per line, or several on a line with commas between them.

    The name of a run may have commas itself (``specialist 0, dustbin``): the longest part of a line that some run is called
    stands for that one.

    Raises:
        UserError: the store can't be read.
    """
    quiet()
    try:
        return [name for line in text.splitlines() for name in _split(line.split(","))]
    except (MlflowException, SQLAlchemyError) as error:
        raise UserError(f"the tracking store can't be read ({reason(error)})", field="runs") from None


def _split(parts: list[str]) -> Iterator[str]:
    while parts:
        joined = (",".join(parts[:count]).strip() for count in range(len(parts), 1, -1))
        found = None if _ID.fullmatch(parts[0].strip()) else next(filter(is_called, joined), None)
        name = parts[0].strip() if found is None else found
        parts = parts[1 if found is None else found.count(",") + 1 :]
        if name:
            yield name


def read_run(reference: str, *, ends: bool = False) -> Contents:
    """Return what a command's run recorded.

    Args:
        reference: the run's id, its first 8 characters, or its name.
        ends: whether it comes to its end just now: it is still open, but has recorded all.

    Raises:
        UserError: there is no such run, or the store can't be read.
    """
    quiet()
    try:
        return _contents(called(reference), ends=ends)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise UserError(f"{reference}: can't be read ({reason(error)}); `kd runs` lists the runs", field="runs") from None


def _contents(run: Entity, *, ends: bool) -> Contents:
    tags = run.data.tags
    with tempfile.TemporaryDirectory() as folder:
        here = _artifacts(run, Path(folder))
        below = [child for child in reversed(children_of(run.info.run_id)) if "kd.role" in child.data.tags]
        below = [*_reused_teacher(run, below), *below]
        pictured = {child.info.run_id for child in sorted(below, key=_is_of_few_classes)[:MAX_PICTURED]}
        systems = [_system(child, Path(folder), pictured=child.info.run_id in pictured) for child in below]
        if not below and "kd.group" in tags:  # a command of one net, whose run is the command's
            systems = [_system(run, Path(folder), pictured=True)]
        note = _text(here / "note" / "note.md") or _text(here / "note.md") or tags.get("mlflow.note.content", "")
        first, *rest = note.split("\n\n")
        is_verdict = first.startswith("**")
        return Contents(
            title=str(run.info.run_name),
            verdict=_LINK.sub(r"\1", first.replace("**", "")) if is_verdict else tags.get("kd.verdict", ""),
            command=tags.get(TYPED, ""),
            note="\n\n".join(part for part in (rest if is_verdict else [first, *rest]) if not part.startswith(SIDE_BY_SIDE)),
            settings=_text(here / "settings" / "config.yaml") or _text(here / "config.yaml"),
            lineage={name: tags[tag] for name, tag in _LINEAGE.items() if tags.get(tag)} | _models(below or [run]),
            systems=systems,
            figures={} if not below else _pictures(here),
            state="" if ends else _state(run),
            run_id=run.info.run_id,
        )


def _reused_teacher(run: Entity, below: list[Entity]) -> list[Entity]:
    """Return the run of the generalist where it is none of those below a command's run, but on the same images."""
    teacher = run.data.tags.get("kd.teacher", "")
    if not below or not re.fullmatch("[0-9a-f]{32}", teacher) or teacher in {child.info.run_id for child in below}:
        return []
    with suppress(MlflowException):  # it is in the store no more
        found = find_run(teacher)
        if found.data.tags.get("kd.data_digest") == run.data.tags.get("kd.data_digest"):
            return [found]
    return []


def _is_of_few_classes(run: Entity) -> bool:
    """Return whether it is a specialist or one's control: the generalist and the combination are looked at before them."""
    return run.data.tags.get("kd.group", "all") != "all"


def _system(run: Entity, folder: Path, *, pictured: bool) -> System:
    tags, name = run.data.tags, str(run.info.run_name)
    here = _artifacts(run, folder) if pictured else folder / "none"
    classes = _rows(here / "tables" / "3_per_class.json", "class", "images", "right")
    return System(
        name=_short(name),
        role=tags.get("kd.role", ""),
        seed=tags.get("kd.seed", ""),
        verdict=tags.get("kd.verdict", ""),
        metrics=dict(run.data.metrics),
        classes=[ClassRow(str(label), images, correct) for label, images, correct in classes if _are_counts(images, correct)],
        right=_right(here / "tables" / "1_predictions.json", run.data.metrics),
        figures=_pictures(here),
        state=_state(run),
    )


def _right(path: Path, metrics: Mapping[str, float]) -> dict[int, bool] | None:
    """Return on which images a net is right, of its own classes and among these; None: it is not known.

    Where it has a dustbin, its best answer among its own classes is the first, or the second behind the dustbin. A specialist
    that tells all classes apart may have it further behind, where no table has it.
    """
    if "test/own_accuracy" in metrics and "test/accuracy" in metrics:
        return None
    if WITH_DUSTBIN not in metrics:
        return {image: right == "yes" for image, right in _rows(path, "image", "right") if _are_counts(image)} or None
    rows = _rows(path, "image", "class", "predicted", "second")
    own = [row for row in rows if _are_counts(row[0]) and row[1] != DUSTBIN]
    return {image: label == (second if first == DUSTBIN else first) for image, label, first, second in own} or None


def _state(run: Entity) -> str:
    """Return in words how a run ended, with the reason where it is known; empty: it came to its end."""
    words = {"RUNNING": "has not ended", "SCHEDULED": "has not begun", "FAILED": "failed", "KILLED": "was stopped"}
    state, why = words.get(run.info.status, ""), run.data.tags.get("kd.reason", "")
    return f"{state}: {why}" if state and why else state


def _short(name: str) -> str:
    """Return a run's name without the settings behind it, but for its seed."""
    words = name.split()
    kept = [word for word in words if "=" not in word]
    return " ".join(kept[:-1] if len(kept) > 1 and len(kept) < len(words) and kept[-1] in {"resnet", "pooled", "mlp"} else kept)


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
    """Return the pictures (PNG) of a run by their names; a file that is none, or a huge one, is left out with a line."""
    found = {path: path.read_bytes() for path in sorted((here / "figures").glob("*.png")) if path.is_file()}
    good = {path: content for path, content in found.items() if is_picture(content)}
    for path in found.keys() - good.keys():
        log.warning("%s is damaged, or no picture of kd's: the report is made without it", printable(path.name))
    return {path.stem: content for path, content in good.items()}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _rows(path: Path, *columns: str) -> list[tuple[Any, ...]]:
    """Return these columns of a table, row by row; none where there is no such table, or it is damaged or of another form."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        places = [found["columns"].index(column) for column in columns]
        return [tuple(row[place] for place in places) for row in found["data"]]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        log.warning("%s can't be read (%s): the report is made without it", path.name, reason(error))
        return []


def _are_counts(*numbers: object) -> bool:
    return all(isinstance(number, int) and number >= 0 for number in numbers)


def _models(runs: list[Entity]) -> dict[str, str]:
    digests = {_short(str(run.info.run_name)): run.data.tags.get("kd.model_sha256", "") for run in runs}
    return {f"SHA-256 of {name}'s model": digest for name, digest in digests.items() if digest}
