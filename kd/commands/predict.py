"""``kd predict``: the classes of image files and of folders of them, by a model that was trained."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd.commands.answer import Answer
from kd.config import PredictConfig
from kd.data.entries import extension, image_extensions
from kd.data.scan import describe_passed_over, heif_advice, image_files
from kd.distillation.loading import model_file
from kd.distillation.saved import Ranked, SavedModel, records
from kd.errors import UserError, reason
from kd.machine.device import resolve_device
from kd.machine.files import write_whole
from kd.machine.paths import check_file, exists, user_path
from kd.machine.text import listed, printable
from kd.tracking.named import named_model
from kd.tracking.others import is_model_file

COLUMNS = "image", "class", "probability"
MAX_NAME = 60
"""Characters of a file's name up to which the columns of the table stand below each other."""


@dataclass(frozen=True)
class Named:
    """The classes that a model takes an image for, the most probable first."""

    image: str
    """Its path, as it was typed."""
    classes: Ranked


def predict(config: PredictConfig) -> Answer:
    """Name the most probable classes of images, in a table or in a file."""
    device = resolve_device(config.device)
    target = _target(config.csv)
    _check_order(config)
    images = _found(config.images)
    _check_not_read(target, config, images)
    model = named_model(config.model, "model")
    model.module.to(device)
    answers = list(_named(model, images, config))
    left_out = sorted({shown for shown, _ in images} - {answer.image for answer in answers})
    if target is not None:
        _write(target, answers)
    lines = _table(answers) if target is None else [_summary(answers, target)]
    record = {
        "model": config.model,
        "classes": list(model.classes),
        "predictions": [_record(answer) for answer in answers],
        "left_out": left_out,
        "csv": None if target is None else str(target),
    }
    return Answer([(line, "") for line in lines], record, is_report=target is None)


def _named(model: SavedModel, images: Sequence[tuple[str, Path]], config: PredictConfig) -> Iterator[Named]:
    for batch in model.answers([path for _, path in images], skip_bad_images=config.skip_bad_images):
        for place, ranked in zip(batch.places, model.ranked(batch.probabilities, config.top), strict=True):
            yield Named(images[place][0], ranked)


def _check_order(config: PredictConfig) -> None:
    """Refuse an image in the place of the model.

    Raises:
        UserError: the model is named by a path that ends as those of images do.
    """
    if extension(config.model) in image_extensions():
        raise UserError(f"{config.model}: an image; name the model before it: kd predict MODEL IMAGE", field="model")


def _found(images: str) -> list[tuple[str, Path]]:
    """Return the image files that are named and those in folders, each as it was typed and where it is.

    Raises:
        UserError: none are named, there is no such file, or a folder holds none.
    """
    names = [name for name in images.split("\n") if name]
    if not names:
        raise UserError("names no images; give files or folders of them", field="images")
    return [found for name in names for found in _found_at(name)]


def _found_at(name: str) -> list[tuple[str, Path]]:
    path = user_path(name, "images")
    if not exists(path):
        raise UserError(f"{printable(name)}: there is no such file or folder; name images or folders of them", field="images")
    if not path.is_dir():
        try:
            check_file(path)
        except OSError as error:
            raise UserError(f"{printable(name)}: can't be read ({reason(error)}); name images", field="images") from None
        return [(name, path)]
    passed_over: Counter[str] = Counter()
    files = [Path(file.path) for file in image_files(path, str(path), passed_over)]
    if not files:
        told = f" ({describe_passed_over(passed_over)} passed over{heif_advice(passed_over)})" if passed_over else ""
        raise UserError(f"{printable(name)}: holds no images{told}; name another folder", field="images")
    return [(str(Path(name, file.relative_to(path))), file) for file in files]


def _target(name: str) -> Path | None:
    """Return where the answers are to be written; None: they are shown.

    Raises:
        UserError: no file can be there.
    """
    if not name:
        return None
    path = user_path(name, "csv")
    if path.is_dir() or not path.parent.is_dir():
        why = "is a folder" if path.is_dir() else f"{path.parent} is no folder"
        raise UserError(f"{printable(name)}: can't be written ({why}); name a file", field="csv")
    return path


def _check_not_read(target: Path | None, config: PredictConfig, images: Sequence[tuple[str, Path]]) -> None:
    """Refuse to write the answers over one of the images, or over the model.

    Raises:
        UserError: the file is one of them.
    """
    if target is None or not target.exists():
        return
    model = [model_file(user_path(config.model, "model"))] if is_model_file(config.model) else []
    if target.resolve() in {path.resolve() for path in (*model, *(path for _, path in images))}:
        raise UserError(f"{printable(config.csv)}: is the model or one of the images; name another file", field="csv")


def _write(path: Path, answers: Sequence[Named]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    shown = max((len(answer.classes) for answer in answers), default=0)
    ranked = [f"{name}_{rank}" for rank in range(1, shown + 1) for name in COLUMNS[1:]]
    writer.writerow([COLUMNS[0], *ranked])
    for answer in answers:
        cells = [cell for name, value in answer.classes for cell in (name, f"{value:.6f}")]
        writer.writerow([answer.image, *cells])
    try:
        write_whole(path, text.getvalue().encode(errors="backslashreplace"))
    except OSError as error:
        raise UserError(f"{path}: can't be written ({reason(error)}); name another file", field="csv") from None


def _table(answers: Sequence[Named]) -> list[str]:
    """Return a line per image: its name, and its classes with their probabilities in percent, below each other."""
    rows = [
        [printable(answer.image), *(f"{printable(name)} {100 * p:.1f} %" for name, p in answer.classes)] for answer in answers
    ]
    widths = [min(MAX_NAME, max(map(len, column))) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _summary(answers: Sequence[Named], path: Path) -> str:
    counts = Counter(answer.classes[0][0] for answer in answers)
    told = listed(f"{name} {count:,}" for name, count in counts.most_common())
    return f"{len(answers):,} images{f': {told}' if told else ''}; written to {path}"


def _record(answer: Named) -> dict[str, Any]:
    return {"image": answer.image, "classes": records(answer.classes)}
