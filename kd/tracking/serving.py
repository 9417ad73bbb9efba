"""A logged model, and how it answers under ``mlflow models serve``: images in, the names of classes with probabilities out.

No file of code lies beside a logged model: MLflow imports this module, by the name that stands in the model's ``MLmodel``.
"""

import base64
import binascii
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd  # type: ignore[import-untyped]
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType, Array, Object, Property
from PIL import Image

from kd.data.decode import BadImageError, decode_bytes
from kd.distillation.defaults import TOP
from kd.distillation.saved import SavedModel, load_saved, records
from kd.errors import UserError, reason
from kd.evaluation.predict import EVAL_BATCH_SIZE, answers
from kd.machine.names import cut
from kd.machine.text import printable
from kd.tracking.requirements import requirements

log = logging.getLogger("kd")

COLUMN: Final = "image"
SIGNATURE: Final = ModelSignature(
    # MLflow would turn what it knows the type of into that, and refuse the rest in lines of its own, with all that was sent.
    inputs=Schema([ColSpec(AnyType(), COLUMN, required=False)]),  # type: ignore[no-untyped-call] # MLflow's own
    outputs=Schema(
        [ColSpec(Array(Object([Property("class", DataType.string), Property("probability", DataType.double)])), "classes")]
    ),
    params=ParamSchema([ParamSpec("top", DataType.long, TOP)]),
)
"""Images of any form in, classes of each image out, and how many of them."""
_HOW: Final = 'send {"inputs": [IMAGE, ...]}, each'
_DATA_URL: Final = "data:"
_MOST: Final = np.iinfo(np.uint8).max
_MAX_SHOWN: Final = 40
"""Characters that are shown of what is no image."""


def write_model(folder: Path, program: Path, image_shape: Sequence[int], facts: Model) -> None:
    """Write the folder of a logged model: its program, signature, example and requirements, and no pickle.

    MLflow serves it by this module; ``mlflow.pytorch.load_model`` reads it too, and returns the bare net.

    Args:
        folder: where; there must be none.
        program: the model as :func:`~kd.distillation.saved.save` writes it, named ``model.pt2``.
        image_shape: (C, H, W) of its images.
        facts: what MLflow is to know of it; is changed.
    """
    facts.add_flavor("pytorch", model_data="data", pytorch_version=str(torch.__version__), code=None)
    mlflow.pyfunc.save_model(
        str(folder),
        loader_module=__name__,
        data_path=str(program),
        mlflow_model=facts,
        signature=SIGNATURE,
        input_example={COLUMN: [_example(image_shape)]},
        pip_requirements=requirements(),
    )


def _example(image_shape: Sequence[int]) -> str:
    """Return a black image of a shape (C, H, W), as it is sent: a PNG in base64."""
    channels, height, width = image_shape
    file = io.BytesIO()
    Image.new("L" if channels == 1 else "RGB", (width, height)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _load_pyfunc(path: str) -> "ServedModel":
    """Load the program of a logged model; MLflow calls it by this name."""
    return ServedModel(load_saved(Path(path)))


class RefusedError(MlflowException):
    """Input that is not answered. Whoever sent it gets one line, before which MLflow would put all that was sent."""

    def __init__(self, line: str, code: int = INVALID_PARAMETER_VALUE) -> None:
        super().__init__(line, code)
        self._line = line

    def serialize_as_json(self) -> str:
        """Return the body of the answer."""
        self.message = self._line
        return str(super().serialize_as_json())  # type: ignore[no-untyped-call] # MLflow's own


class ServedModel:
    """A model of kd's as MLflow calls it."""

    def __init__(self, model: SavedModel) -> None:
        self._model = model

    def predict(self, data: pd.DataFrame, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the most probable classes of images, with their probabilities.

        Args:
            data: one column of images, each the bytes of a file, these in base64, or an array of whole numbers from 0 to 255
                of the model's own shape.
            params: ``top``: how many classes.

        Raises:
            MlflowException: an image can't be read, or there is none.
        """
        try:
            top = (params or {}).get("top")
            return self._answers(list(_sent(data)), TOP if top is None else int(top))
        except UserError as error:
            raise RefusedError(str(error)) from None
        except Exception as error:
            log.exception("an image is not answered")
            told = f"the model failed ({reason(error)}); what its server wrote has the rest"
            raise RefusedError(told, INTERNAL_ERROR) from None

    def _answers(self, images: Sequence[object], top: int) -> list[dict[str, Any]]:
        if not images:
            raise UserError(f"no images; {_HOW} {self._form()}")
        if top < 1:
            raise UserError(f"top is {top}; give the number of classes to be told of each image, 1 or more")
        pixels = torch.from_numpy(np.stack([self._pixels(image, place, len(images)) for place, image in enumerate(images)]))
        logits = torch.cat([answers(self._model.module, batch) for batch in torch.split(pixels, EVAL_BATCH_SIZE)])
        return [{"classes": records(ranked)} for ranked in self._model.ranked(logits.softmax(dim=1), top)]

    def _pixels(self, image: object, place: int, count: int) -> npt.NDArray[np.uint8]:
        """Return an image as the model's own (C, H, W).

        Raises:
            UserError: it can't be read; the message names its place.
        """
        try:
            if isinstance(image, str | bytes):
                content = image if isinstance(image, bytes) else _decoded(image)
                return decode_bytes(content, self._model.image_shape, bit_depth=self._model.bit_depth)
            return self._of_array(image)
        except (BadImageError, ValueError) as error:
            raise UserError(f"image {place + 1} of {count}: {error}; send {self._form()}") from None

    def _of_array(self, image: object) -> npt.NDArray[np.uint8]:
        """Return an array as the model's own (C, H, W).

        Raises:
            ValueError: it is none.
        """
        if not isinstance(image, list | np.ndarray):
            raise ValueError(f"{_shown(image)} is neither text nor an array")  # noqa: TRY004 - one kind for all that is wrong with it
        try:
            given = np.asarray(image)
        except ValueError:
            raise ValueError("the rows of an array differ in length") from None
        if given.dtype.kind not in "iuf" or not ((given >= 0) & (given <= _MOST) & (given == np.floor(given))).all():
            raise ValueError("an array holds something other than whole numbers from 0 to 255")
        shape = self._model.image_shape
        if given.shape == (given.size,) and given.size == np.prod(shape):  # as in a cell of a table
            given = given.reshape(shape)
        try:
            [pixels] = self._model.pixels(given.astype(np.uint8)[None]).numpy()
        except UserError:
            raise ValueError(f"an array has the shape {list(given.shape)}") from None
        return np.asarray(pixels)

    def _form(self) -> str:
        return (
            "the bytes of a JPEG or PNG file in base64, or an array of whole numbers from 0 to 255 of the shape "
            f"{list(self._model.image_shape)} (channels, height, width)"
        )


def _sent(data: pd.DataFrame) -> Iterator[object]:
    """Yield the images of a request; MLflow puts a list of texts into one cell."""
    for cell in data.get(COLUMN, ()):
        if isinstance(cell, list | np.ndarray) and all(isinstance(item, str | bytes) for item in cell):
            yield from cell
        else:
            yield cell


def _decoded(text: str) -> bytes:
    """Return the bytes that a text in base64 stands for.

    Raises:
        ValueError: it is not base64.
    """
    body = text.partition(",")[2] if text.startswith(_DATA_URL) else text
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{_shown(text)} is not base64") from None


def _shown(value: object) -> str:
    return printable(cut(str(value), _MAX_SHOWN))
