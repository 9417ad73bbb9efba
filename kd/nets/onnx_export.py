"""Models written as ONNX files: by torch's exporter, and with weights and activations of 8 bits by onnxruntime."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.export import Dim

from kd.errors import UserError, reason
from kd.nets.exported import EXAMPLE_IMAGES
from kd.nets.onnx_model import IMAGES, LOGITS

OPSET: Final = 18
"""Version of ONNX's operators: that of torch's exporter, which onnxruntime 1.14 and newer run."""
CALIBRATION_BATCH: Final = 64
PACKAGES: Final = ("onnx", "onnxruntime", "onnxscript")


def check_packages() -> None:
    """Refuse to export without the packages that it takes.

    Raises:
        UserError: one is missing.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(f"needs the package{'s' * (len(missing) > 1)} {' and '.join(missing)}: pip install 'kd[onnx]'")


def write_onnx(module: nn.Module, image_shape: Sequence[int], path: Path, texts: Mapping[str, str]) -> None:
    """Write a module on the CPU as one ONNX file, for batches of any size, with texts as its metadata.

    Args:
        module: maps uint8 images (B, C, H, W) to logits (B, classes).
        image_shape: (C, H, W).
        path: the file.
        texts: texts by name.

    Raises:
        UserError: it has an operator that ONNX lacks.
    """
    example = torch.zeros(EXAMPLE_IMAGES, *image_shape, dtype=torch.uint8)
    try:
        with _quiet():
            program = torch.onnx.export(
                nn.Sequential(module).eval(),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[IMAGES],
                output_names=[LOGITS],
                dynamic_shapes=({0: Dim("batch")},),
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError, ValueError, TypeError) as error:
        raise UserError(f"it can't be exported to ONNX ({reason(_first(error))})") from error
    assert program is not None  # noqa: S101 - it is where dynamo is true
    program.save(str(path), external_data=False)
    _add_texts(path, texts)


def write_int8(source: Path, path: Path, images: npt.NDArray[np.uint8], texts: Mapping[str, str]) -> None:
    """Write an ONNX model with weights and activations of 8 bits: static quantisation in the form QDQ.

    Activations are unsigned and weights signed, with a scale per channel: processors have instructions for these.

    Args:
        source: the model.
        path: the file to write.
        images: (N, C, H, W), from whose activations the ranges are taken.
        texts: texts by name, as its metadata.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static  # noqa: PLC0415 - an extra

    class Batches(CalibrationDataReader):  # type: ignore[misc] # onnxruntime has no types
        """Hands out the images."""

        def __init__(self) -> None:
            self._left = iter(np.array_split(images, -(-len(images) // CALIBRATION_BATCH)))

        def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
            """Return the next batch; None: there is none."""
            batch = next(self._left, None)
            return None if batch is None else {IMAGES: batch}

    with _quiet():
        quantize_static(
            str(source),
            str(path),
            Batches(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=_in_float64(source),
        )
    _add_texts(path, texts)


def _in_float64(path: Path) -> list[str]:
    """Return the names of a model's nodes in float64, as Eq. 5 is solved: onnxruntime fails to give them 8 bits."""
    import onnx  # noqa: PLC0415 - an extra

    graph = onnx.shape_inference.infer_shapes(onnx.load_model(str(path))).graph
    known = [*graph.value_info, *graph.input, *graph.output]
    double = {value.name for value in known if value.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE}
    double |= {constant.name for constant in graph.initializer if constant.data_type == onnx.TensorProto.DOUBLE}
    return [node.name for node in graph.node if double & {*node.input, *node.output}]


def _add_texts(path: Path, texts: Mapping[str, str]) -> None:
    import onnx  # noqa: PLC0415 - an extra

    model = onnx.load_model(str(path))
    held = {**{entry.key: entry.value for entry in model.metadata_props}, **texts}
    onnx.helper.set_model_props(model, held)
    for node in model.graph.node:
        del node.metadata_props[:]  # which lines of which files on this machine it came from: a model is sent to others
    onnx.checker.check_model(model)
    onnx.save_model(model, str(path))


def _first(error: BaseException) -> BaseException:
    """Return what began a chain of errors: those of torch's exporter are pages that name their own files."""
    return error if error.__cause__ is None else _first(error.__cause__)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what libraries say of their own work off the terminal."""
    loggers = [logging.getLogger(name) for name in (None, "torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
