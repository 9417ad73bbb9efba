"""A trained model as one file, which loads without a run, a tracker or the code of its net; and its predictions."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kd.data.arrays import channels_first
from kd.data.dataset import Dataset
from kd.data.decode import CROP
from kd.data.source import BIT_DEPTH
from kd.distillation.combination import Combination
from kd.distillation.file_answers import Answered, answer_files
from kd.distillation.model_facts import PREPARATION, with_preparation, wrong_fact
from kd.distillation.results import Trained
from kd.errors import UserError
from kd.evaluation.predict import predict_images
from kd.machine.paths import user_path
from kd.nets.exported import read_model, read_text, write_program

log = logging.getLogger("kd")

FORMAT = "kd-model-1"
FACTS_FILE = "kd.json"
MODEL_NAME = "model.pt2"
"""The file of a model in its folder below ``models/``."""
Ranked = Sequence[tuple[str, float]]
"""Classes of an image by name with their probabilities, the most probable first."""
_FACTS = ("classes", "image_shape", "outputs", "data_digest", "held_out_digest", *PREPARATION)


@dataclass(frozen=True)
class Prediction:
    """The answer of a model to one image."""

    name: str
    """The class with the highest probability."""
    probability: float
    """Probability of that class."""
    probabilities: Mapping[str, float]
    """Probability of every class, in the model's order."""


class SavedModel:
    """A model loaded from a file: images of any source in, classes by name out."""

    def __init__(  # noqa: PLR0913, PLR0917 - what is known of a model
        self,
        module: nn.Module,
        classes: Sequence[str],
        image_shape: Sequence[int],
        data_digest: str,
        bit_depth: int = BIT_DEPTH,
        held_out_digest: str = "",
        *,
        named: bool = True,
        assumed: Sequence[str] = (),
        facts: Mapping[str, Any] | None = None,
        size_bytes: int = 0,
    ) -> None:
        """Take the module, the names of its outputs, the shape (C, H, W) of its images, and their data set's digests.

        ``held_out_digest`` is that of val and test. Digests are empty where they are not known. The bit depth is that of the
        data set's image files of 16 bits: those to predict are scaled alike. ``named`` says whether its classes have names,
        and are not numbers in their place; ``assumed``, what is not known of how its images are prepared. ``facts``
        is all that stands beside its program, and ``size_bytes`` the size of its file.
        """
        channels, height, width = image_shape
        self.module = module
        self.classes = tuple(classes)
        self.image_shape = (channels, height, width)
        self.data_digest = data_digest
        self.bit_depth = bit_depth
        self.held_out_digest = held_out_digest
        self.named = named
        self._assumed = assumed
        self.facts = facts or {}
        self.size_bytes = size_bytes

    def described(self) -> dict[str, Any]:
        """Return the facts that stand beside the model in any form: those that it had, and what is known of it."""
        return {
            **self.facts,
            "format": FORMAT,
            "classes": list(self.classes),
            "image_shape": list(self.image_shape),
            "outputs": self.facts.get("outputs", "logits"),
            "data_digest": self.data_digest,
            "held_out_digest": self.held_out_digest,
            "bit_depth": self.bit_depth,
            "crop": CROP,
        }

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits (N, classes) float32 for images (N, C, H, W) uint8."""
        return predict_images(self.module, images)

    def predict(self, images: Sequence[str | Path] | npt.ArrayLike) -> list[Prediction]:
        """Return the model's answer to each image.

        Args:
            images: paths of image files, which are cropped and resized as in training; or an array, uint8, (N, C, H, W) or
                (N, H, W, C), of the model's own size.

        Raises:
            UserError: a file can't be read, or the array is not uint8 or not of the model's shape.
        """
        if isinstance(images, str | Path):
            raise UserError(f"{images}: give a list of images, as in predict([{str(images)!r}])")
        if _are_paths(images):
            rows = self._of_files(images)  # type: ignore[arg-type]
        else:
            pixels = self.pixels(images)  # type: ignore[arg-type]
            rows = self.logits(pixels).softmax(dim=1).tolist() if len(pixels) else []
        return [self._prediction(row) for row in rows]

    def _of_files(self, paths: Sequence[str | Path]) -> list[list[float]]:
        found = [user_path(path, "path") for path in paths]
        return [row for batch in self.answers(found) for row in batch.probabilities.tolist()]

    def answers(self, paths: Sequence[Path], *, skip_bad_images: bool | None = None) -> Iterator[Answered]:
        """Yield the model's answers to image files of any number, a batch at a time.

        Args:
            paths: the files, which are cropped and resized as in training.
            skip_bad_images: whether files that can't be decoded are left out; see
                :func:`~kd.distillation.file_answers.answer_files`, also for the errors.
        """
        if self._assumed:
            log.info("an older kd wrote this model, without the %s of its images: as usual", " and ".join(self._assumed))
            self._assumed = ()
        yield from answer_files(self.module, paths, self.image_shape, self.bit_depth, skip_bad_images=skip_bad_images)

    def pixels(self, images: npt.ArrayLike) -> Tensor:
        """Return an array of images, (N, C, H, W), (N, H, W, C) or grey (N, H, W), as the model's own (N, C, H, W).

        Raises:
            UserError: it is not uint8, or not of the model's shape.
        """
        try:
            given = np.asarray(images)
        except ValueError:  # a list of arrays of several shapes, or of arrays and paths
            raise UserError("images are of several kinds or shapes; give paths of files, or arrays of one shape") from None
        if given.dtype != np.uint8:
            raise UserError(f"images are {given.dtype}; give uint8, 0 to 255, or paths of files")
        pixels = channels_first("images", given)
        if pixels.shape[1:] != self.image_shape:
            raise UserError(f"images are {pixels.shape[1:]} and the model's {self.image_shape} (channels, height, width)")
        return torch.from_numpy(np.ascontiguousarray(pixels))

    def ranked(self, probabilities: Tensor, top: int) -> list[Ranked]:
        """Return the most probable classes of each image, of probabilities (N, classes)."""
        best = probabilities.topk(min(top, len(self.classes)), dim=1)
        rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [[(self.classes[n], value) for n, value in zip(numbers, values, strict=True)] for numbers, values in rows]

    def _prediction(self, row: Sequence[float]) -> Prediction:
        best = max(range(len(row)), key=row.__getitem__)
        return Prediction(self.classes[best], row[best], dict(zip(self.classes, row, strict=True)))


def records(ranked: Ranked) -> list[dict[str, Any]]:
    """Return the classes of an image for a script."""
    return [{"class": name, "probability": probability} for name, probability in ranked]


def save(system: Trained | Combination, path: str | Path) -> Path:
    """Save a trained net or a combination as one file: its program and weights without pickle, its classes and image shape.

    Args:
        system: what :func:`train`, :func:`distil`, :func:`specialise` or :func:`combine` returned.
        path: the file, by custom ``NAME.pt2``; it is written whole or not at all.

    Raises:
        UserError: the file can't be written, or the net can't be exported.
    """
    path = user_path(path, "path")
    write_program(system.model, system.dataset.image_shape, path, saved_texts(system))
    return path


def saved_texts(system: Trained | Combination) -> dict[str, str]:
    """Return what :func:`load` has to know of a model, as the texts beside its program."""
    if isinstance(system, Combination):
        classes, outputs = system.dataset.classes, "probabilities"
    else:
        classes, outputs = system.task.classes, "logits"
    return model_texts(system.name, classes, system.dataset, run_id=system.run_id, outputs=outputs)


def model_texts(
    name: str, classes: Sequence[str], dataset: Dataset, *, run_id: str = "", outputs: str = "logits"
) -> dict[str, str]:
    """Return the same of a model that may not be trained yet, by its name, the names of its outputs and its data."""
    facts: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "classes": list(classes),
        "image_shape": list(dataset.image_shape),
        "outputs": outputs,
        "data": dataset.name,
        "data_digest": dataset.digest,
        "held_out_digest": dataset.held_out_digest,
        "bit_depth": dataset.bit_depth,
        "crop": CROP,
        "run_id": run_id,
    }
    return {FACTS_FILE: json.dumps(facts)}


def load_saved(path: Path) -> SavedModel:
    """Load a model that :func:`save` or a tracked run wrote, on the CPU.

    The file is read as data: its program may have only operators that compute on tensors, and nothing in it is unpickled,
    compiled or evaluated.

    Args:
        path: the file; those of tracked runs lie in folders below ``models/`` of the output folder.

    Raises:
        UserError: there is no such file, or kd did not write it.
    """
    facts = read_facts(read_text(path, FACTS_FILE))
    if not are_facts(facts):
        raise UserError(f"{path}: not a model that kd.save wrote; save it again with kd.save")
    classes, shape = facts["classes"], facts["image_shape"]
    module = read_model(path, shape, len(classes), logarithm=facts["outputs"] == "probabilities")
    return with_facts(module, facts, path.stat().st_size)


def with_facts(module: nn.Module, facts: Mapping[str, Any], size_bytes: int) -> SavedModel:
    """Return a model of logits with the facts that stand beside it."""
    known, assumed = with_preparation(facts)
    return SavedModel(
        module,
        known["classes"],
        known["image_shape"],
        known["data_digest"],
        known["bit_depth"],
        known["held_out_digest"],
        assumed=assumed,
        facts=facts,
        size_bytes=size_bytes,
    )


def are_facts(facts: Mapping[str, Any]) -> bool:
    """Return whether facts are those of a model that :func:`save` or a tracked run wrote."""
    return facts.get("format") == FORMAT and not wrong_fact(with_preparation(facts)[0], _FACTS)


def is_saved(path: Path) -> bool:
    """Return whether a program has facts of kd's beside it.

    Raises:
        UserError: there is no such file, it is no archive, or it is damaged.
    """
    return bool(read_text(path, FACTS_FILE))


def read_facts(text: str) -> dict[str, Any]:
    """Return the facts that a text holds; none where it holds anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {"held_out_digest": "", **found} if isinstance(found, dict) else {}


def _are_paths(images: object) -> bool:
    return isinstance(images, Sequence) and all(isinstance(image, str | Path) for image in images)
