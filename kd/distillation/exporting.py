"""A loaded model written in another format, read again, and compared with what it was before anybody has it."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from kd.data.dataset import Dataset
from kd.distillation.loading import load_any
from kd.distillation.pretrained import About
from kd.distillation.saved import FACTS_FILE, SavedModel
from kd.errors import RunError, UserError, reason
from kd.evaluation.latency import Latency, latencies
from kd.machine.activity import doing
from kd.nets.exported import Exported, write_program
from kd.nets.onnx_export import check_packages, write_int8, write_onnx
from kd.nets.onnx_model import OnnxModel
from kd.nets.weights import read_weights

CALIBRATION_IMAGES = 512
ALIKE = 1e-3
"""Difference between two answers, as a share of the largest logit, that rounding explains."""


class Format(StrEnum):
    """What a model is written as."""

    ONNX = "onnx"
    PT2 = "pt2"
    SAFETENSORS = "safetensors"


@dataclass(frozen=True, eq=False)
class Images:
    """What a model is checked on before anybody has it."""

    told: str
    """How they are told: ``359 test images of digits``."""
    checked: Tensor
    """(N, C, H, W) uint8."""
    labels: Tensor | None = None
    """(N,) int64, as numbers of the model's classes; negative where the model lacks the class; None: they are not known."""
    calibration: Tensor | None = None
    """(N, C, H, W) uint8, from which ranges of activations are taken; None: there are none that are real."""
    calibration_told: str = ""
    """How those are told."""


@dataclass(frozen=True, eq=False)
class System:
    """A model in one form."""

    name: str
    size_bytes: int
    logits: Tensor
    latencies: tuple[Latency, ...]


@dataclass(frozen=True, eq=False)
class ExportedModel:
    """A model that was written, and what was found of it."""

    path: Path
    images: Images
    systems: tuple[System, ...]
    """The model as it was, then each form up to the one that was written."""

    @property
    def written(self) -> System:
        """Return the form that was written."""
        return self.systems[-1]

    def largest_difference(self, of: System) -> float:
        """Return the largest difference of a form's logits from those of the model as it was."""
        return (of.logits - self.systems[0].logits).abs().max().item()

    def equal_answers(self, of: System) -> int:
        """Return for how many images a form names the same class as the model as it was."""
        return int((of.logits.argmax(dim=1) == self.systems[0].logits.argmax(dim=1)).sum())

    def correct(self, of: System) -> Tensor | None:
        """Return which images of the model's own classes a form has right, (n,) bool; None: the labels are not known."""
        labels = self.images.labels
        if labels is None:
            return None
        own = labels >= 0
        known = torch.unique(labels[own])  # no dustbin
        answers = known[of.logits[own][:, known].argmax(dim=1)]
        right: Tensor = answers.eq(labels[own])
        return right


def images_of(model: SavedModel, dataset: Dataset) -> Images:
    """Return the images of a data set as those of a model: it is checked on test, and calibrated on train."""
    place = {name: number for number, name in enumerate(model.classes)}
    columns = torch.tensor([place.get(name, -1) for name in dataset.classes])
    train = dataset.train.images
    rows = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:CALIBRATION_IMAGES]
    return Images(
        told=f"{len(dataset.test):,} test images of {dataset.name}",
        checked=dataset.test.images,
        labels=columns[dataset.test.labels],
        calibration=train[rows],
        calibration_told=f"{len(rows)} train images",
    )


def noise(model: SavedModel, count: int = 64) -> Images:
    """Return random images, for a model of which no real ones are at hand."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, *model.image_shape), generator=generator, dtype=torch.uint8)
    return Images(f"{count} random images, as no real ones are known", images)


def export(model: SavedModel, path: Path, form: Format, images: Images, *, int8: bool = False) -> ExportedModel:
    """Write a model in another format; it is compared with what it was, and its file is there only if it answers alike.

    Args:
        model: the model.
        path: the file.
        form: the format.
        images: what it is checked on.
        int8: whether its weights and activations get 8 bits; for ONNX alone.

    Raises:
        UserError: the model has no such form, a package is missing, or the file can't be written.
        RunError: the answers of what was written differ from those of the model.
    """
    check_export(model, form, int8=int8)
    if int8 and images.calibration is None:
        raise UserError("the ranges of 8 bits are taken from real images; name some (--images FOLDER)", field="int8")
    before = _system("pt2 (torch)" if isinstance(model.module, Exported) else "as it was", model, images, model.size_bytes)
    with _beside(path) as folder:
        made = _MAKERS[form](model, folder, images, before)
        if int8:
            source = folder / "float.onnx"
            write_int8(source, folder / "int8.onnx", images.calibration.numpy(), _texts(model))  # type: ignore[union-attr] # checked above
            made = [*made, _read("onnx int8 (onnxruntime)", folder / "int8.onnx", images)]
            (folder / "int8.onnx").replace(path)
        else:
            (folder / f"float.{form}").replace(path)
    return ExportedModel(path, images, (before, *made))


def check_export(model: SavedModel, form: Format, *, int8: bool) -> None:
    """Refuse what can't be made of a model, before its images are read.

    Raises:
        UserError: the model has no such form, or a package is missing.
    """
    if any(isinstance(part, OnnxModel) for part in model.module.modules()):
        told = "is an ONNX file already, of which no other is made; name the model that it was made of: its .pt2 or its run"
        raise UserError(told, field="model")
    if int8 and form != Format.ONNX:
        raise UserError(f"{form}: 8 bits are for onnx alone; leave out --int8, or export to onnx", field="format")
    if form != Format.ONNX and not isinstance(model.module, Exported):
        raise UserError(f"{form}: kd did not write this model; only onnx, with --int8, can be made of it", field="format")
    if form == Format.ONNX:
        check_packages()
        if isinstance(model.module, Exported) and model.module.program.has_operator("cholesky"):
            raise UserError(
                "onnx: this combined model solves Eq. 5 by Cholesky's factorisation, which ONNX lacks: several specialists may "
                "answer on one image, or an earlier kd made it; combine anew with --top-n 1 and groups that share no class "
                "(kd combine), or export to pt2",
                field="format",
            )


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Yield a folder beside a file, in which it is made.

    Raises:
        UserError: it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.", suffix=".tmp") as folder:
            yield Path(folder)
    except OSError as error:
        raise UserError(f"{path}: can't be written ({error.strerror or reason(error)}); name another file", "output") from error


def _texts(model: SavedModel) -> dict[str, str]:
    return {FACTS_FILE: json.dumps(model.described())}


@doing("exporting to ONNX")
def _to_onnx(model: SavedModel, folder: Path, images: Images, before: System) -> list[System]:
    path = folder / "float.onnx"
    write_onnx(model.module, model.image_shape, path, _texts(model))
    return [_checked(_read("onnx (onnxruntime)", path, images), before)]


@doing("exporting the program")
def _to_pt2(model: SavedModel, folder: Path, images: Images, before: System) -> list[System]:
    path = folder / "float.pt2"
    assert isinstance(model.module, Exported)  # noqa: S101 - check_export
    write_program(model.module.program, model.image_shape, path, _texts(model))
    return [_checked(_read("pt2, written anew", path, images), before)]


def _to_safetensors(model: SavedModel, folder: Path, _images: Images, before: System) -> list[System]:
    """Write weights alone: there is nothing that could be asked for an answer."""
    try:
        from safetensors.torch import save  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError("needs the package safetensors: pip install 'kd[weights]'") from None
    path = folder / "float.safetensors"
    tensors = {name: value.contiguous() for name, value in model.module.state_dict().items()}
    path.write_bytes(save(tensors, metadata=_texts(model)))
    again = read_weights(path)
    if again.keys() != tensors.keys() or not all(torch.equal(again[name], value) for name, value in tensors.items()):
        raise RunError("the weights that were written are not those of the model: nothing is left of them")
    return [System("weights", path.stat().st_size, before.logits, ())]


_MAKERS: Mapping[Format, Callable[[SavedModel, Path, Images, System], list[System]]] = {
    Format.ONNX: _to_onnx,
    Format.PT2: _to_pt2,
    Format.SAFETENSORS: _to_safetensors,
}


def _read(name: str, path: Path, images: Images) -> System:
    return _system(name, load_any(path, About()), images, path.stat().st_size)


def _system(name: str, model: SavedModel, images: Images, size_bytes: int) -> System:
    logits = model.logits(images.checked)
    with doing("measuring the latency"):
        return System(name, size_bytes, logits, latencies(model.module, images.checked))


def _checked(made: System, before: System) -> System:
    """Return what was made.

    Raises:
        RunError: its answers differ from those before by more than rounding.
    """
    difference = (made.logits - before.logits).abs().max().item()
    if not difference <= ALIKE * before.logits.abs().max().item():
        raise RunError(
            f"the exported model answers otherwise than the model, by up to {difference:.3g} in a logit: nothing is left of it"
        )
    return made
