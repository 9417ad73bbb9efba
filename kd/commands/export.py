"""``kd export``: a model as ONNX, with 8 bits too, as a program or as weights, compared with what it was."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kd.commands.answer import COLOURS, Answer, bounds_record
from kd.config import ExportConfig
from kd.data.prepared import prepared_batches
from kd.data.scan import image_files
from kd.distillation.exporting import ExportedModel, Format, Images, System, check_export, images_of, noise
from kd.distillation.exporting import export as exported
from kd.distillation.loading import model_file
from kd.distillation.saved import SavedModel
from kd.errors import UserError
from kd.evaluation.comparisons import Comparison, accuracy_interval, compare_correct
from kd.evaluation.intervals import Interval, format_interval
from kd.evaluation.latency import Latency
from kd.from_config import images_of_settings
from kd.machine.names import file_name
from kd.machine.paths import user_path
from kd.machine.text import printable
from kd.nets.onnx_export import OPSET
from kd.reports.cost import latency_record
from kd.tracking.named import named_model, settings_of
from kd.tracking.others import is_model_file

log = logging.getLogger("kd")

MAX_IMAGES = 2000
"""Images of a folder on which a model is checked at most."""
DIGITS = {"data": "digits"}


def export(config: ExportConfig) -> Answer:
    """Write a model in another format, and tell how it answers, how large it is and how fast."""
    form = Format(config.format)
    folder = _folder(config.images)
    model = named_model(config.model, "model")
    check_export(model, form, int8=config.int8)
    path = _target(config, form)
    images = _images_in(folder, model) if folder is not None else _known_images(model)
    made = exported(model, path, form, images, int8=config.int8)
    lines = [*_lines(made, form), *_change_lines(made, int8=config.int8), (f"written: {path}", "")]
    return Answer(lines, _record(made, form))


def _folder(name: str) -> Path | None:
    """Return the folder of images to check on; None: none is named.

    Raises:
        UserError: it is none.
    """
    if not name:
        return None
    path = user_path(name, "images")
    if not path.is_dir():
        raise UserError(f"{printable(name)}: is not a folder; name one with images", field="images")
    return path


def _target(config: ExportConfig, form: Format) -> Path:
    """Return where the model is to be written.

    Raises:
        UserError: a folder is there, or the model itself.
    """
    ending = f"{'-int8' if config.int8 else ''}.{form}"
    source = model_file(user_path(config.model, "model")) if is_model_file(config.model) else None
    if config.output:
        path = user_path(config.output, "output")
    elif source is None:
        path = Path.cwd() / f"{file_name(config.model)}{ending}"
    else:
        path = source.with_name(f"{source.stem}{ending}")
    if path.is_dir() or path == source:
        what = "a folder" if path.is_dir() else "the model itself"
        raise UserError(f"{path}: is {what}; name another file (--output FILE)", field="output")
    if path.suffix.lower() != f".{form}":
        raise UserError(f"{path}: does not end in .{form}, by which its format is known; name it so", field="output")
    return path


def _known_images(model: SavedModel) -> Images:
    """Return the images of the model's own data, where they can be loaded as they were; else random ones, which is said."""
    settings = settings_of(model) or (DIGITS if model.facts.get("data") == DIGITS["data"] else {})
    why = "its run is not known here"
    if settings:
        try:
            dataset = images_of_settings(settings)
        except UserError as error:
            why = str(error)
        else:
            if dataset.digest == model.data_digest:
                return images_of(model, dataset)
            why = f"those of {dataset.name} are others now"
    log.warning("the images of its data can't be loaded (%s): checked on random ones; --images FOLDER names real ones", why)
    return noise(model)


def _images_in(folder: Path, model: SavedModel) -> Images:
    files = [Path(file.path) for file in image_files(folder, str(folder), Counter())]
    batches = prepared_batches(files[:: max(1, len(files) // MAX_IMAGES)][:MAX_IMAGES], model.image_shape, model.bit_depth)
    pixels, bad = [], 0
    for batch in batches:
        pixels.append(batch.images)
        bad += len(batch.bad)
    if bad:
        log.warning("%s: %d of its images can't be read, and are left out", printable(folder), bad)
    if not sum(map(len, pixels)):
        raise UserError(f"{folder}: holds no images that can be read; name another folder", field="images")
    images = torch.from_numpy(np.concatenate(pixels))
    told = f"{len(images):,} images of {printable(folder.name)}"
    return Images(told, images, calibration=images, calibration_told="the same images")


def _lines(made: ExportedModel, form: Format) -> list[tuple[str, str]]:
    """Return what was checked, and a table of all forms."""
    version = f" (opset {OPSET}, batches of any size)" if form == Format.ONNX else ""
    checked = "weights alone, equal to the model's" if form == Format.SAFETENSORS else f"checked on {made.images.told}"
    lines = [f"{form}{version}, {checked}:"]
    for system in made.systems[1:]:
        if system.latencies:
            equal = f"equal answers to {made.equal_answers(system):,} of {len(system.logits):,}"
            lines.append(f"{system.name}: {equal}, largest difference of a logit {made.largest_difference(system):.2g}")
    lines += _table([_cells(made, system) for system in made.systems])
    return [(line, "") for line in lines]


def _cells(made: ExportedModel, system: System) -> list[str]:
    found = _accuracy(made, system)
    accuracy = [] if made.images.labels is None else ["" if found is None else format_interval(found, signed=False)]
    timed = [f"batch {one.batch}: {one}" for one in system.latencies]
    places = dict.fromkeys(one.place for one in system.latencies)
    return [system.name, *accuracy, f"{system.size_bytes:,} bytes", *timed, *places]


def _accuracy(made: ExportedModel, system: System) -> Interval | None:
    """Return how accurate a form is; None: it was not asked for answers, as weights alone, or the labels are not known."""
    correct = made.correct(system) if system.latencies else None
    return None if correct is None else accuracy_interval([correct])


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    columns = max(map(len, rows))
    filled = [[*row, *[""] * (columns - len(row))] for row in rows]
    widths = [max(map(len, column)) for column in zip(*filled, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in filled]


def _change(made: ExportedModel) -> Comparison | None:
    """Return what 8 bits changed in accuracy; None: the labels are not known."""
    after, before = made.correct(made.written), made.correct(made.systems[0])
    return None if after is None or before is None else compare_correct([(before, after)])


def _change_lines(made: ExportedModel, *, int8: bool) -> list[tuple[str, str]]:
    """Return what 8 bits changed beside the same model in floats: accuracy, size and time."""
    if not int8:
        return []
    before, after = made.systems[-2:]
    change = _change(made)
    calibrated = f"ranges of {made.images.calibration_told}"
    lines = [] if change is None else [(f"8 bits: {change} ({calibrated})", COLOURS.get(change.verdict, ""))]
    told, is_smaller = smaller(after.size_bytes, before.size_bytes)
    lines.append((f"8 bits: {told}", "" if is_smaller else "yellow"))
    for one, other in zip(after.latencies, before.latencies, strict=True):
        told, is_faster = speed(one, other)
        lines.append((f"8 bits, batch {one.batch}: {told}", "" if is_faster else "yellow"))
    return lines


def smaller(after: int, before: int) -> tuple[str, bool]:
    """Return in words how many times smaller a file is than ONNX in floats, and whether it is."""
    if round(before / after, 1) > 1:
        return f"{before / after:.1f} times smaller than onnx", True
    return f"not smaller than onnx ({after:,} bytes against {before:,})", False


def speed(after: Latency, before: Latency) -> tuple[str, bool]:
    """Return in words how many times as fast a model is as ONNX in floats, and whether that is more than passes differ."""
    times = before.median_ms / after.median_ms
    if after.high_ms < before.low_ms:
        return f"{times:.1f} times as fast as onnx", True
    if times > 1:
        return f"not clearly faster than onnx ({times:.1f} times as fast, less than passes differ)", False
    return f"not faster than onnx ({times:.1f} times as fast)", False


def _record(made: ExportedModel, form: Format) -> dict[str, Any]:
    change = _change(made)
    return {
        "file": str(made.path),
        "format": str(form),
        "opset": OPSET if form == Format.ONNX else None,
        "images": made.images.told,
        "n": len(made.images.checked),
        "systems": [_system_record(made, system) for system in made.systems],
        "difference": None if change is None else change.difference.mean,
        "interval": None if change is None else bounds_record(change.difference),
        "verdict": None if change is None else change.verdict,
    }


def _system_record(made: ExportedModel, system: System) -> dict[str, Any]:
    accuracy = _accuracy(made, system)
    return {
        "name": system.name,
        "bytes": system.size_bytes,
        "accuracy": None if accuracy is None else accuracy.mean,
        "interval": None if accuracy is None else bounds_record(accuracy),
        "equal_answers": made.equal_answers(system) if system.latencies else None,
        "largest_difference": made.largest_difference(system) if system.latencies else None,
        "latency": latency_record(system.latencies),
    }
