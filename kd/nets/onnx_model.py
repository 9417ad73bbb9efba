"""Models of others as ONNX files, run by onnxruntime: each part is checked before, and no file but theirs is opened."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from kd.errors import UserError, reason
from kd.machine.files import file_digest
from kd.machine.text import listed, printable
from kd.nets.foreign import ForeignNet

if TYPE_CHECKING:
    import onnx

ONNX: Final = ".onnx"
DOMAINS: Final = frozenset({"", "ai.onnx"})
"""Whose operators a model may have: those of the standard."""
WITHOUT_END: Final = frozenset({"Loop"})
"""Operators that may never end."""
_DTYPES: Final = {1: torch.float32, 2: torch.uint8, 10: torch.float16}
"""Types of images by onnx's own numbers."""
_RANK: Final = 4
IMAGES: Final = "images"
LOGITS: Final = "logits"
"""Names of the input and the output of models that kd writes."""


class OnnxModel(nn.Module):
    """A model that onnxruntime runs on the processor: images in, logits out; it can't be trained or exported."""

    def __init__(self, session: Any, image_input: str, dtype: torch.dtype, parameters: int) -> None:  # noqa: ANN401 - onnxruntime has no types
        """Take a session, the name of its one input, the type of the images there, and the number of its parameters."""
        super().__init__()
        self.other_parameters = parameters
        self._session = session
        self._input = image_input
        self._dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) on any device to logits (B, classes) there."""
        given = images.detach().to(self._dtype).cpu().contiguous().numpy()
        (answer,) = self._session.run(None, {self._input: given})
        return torch.from_numpy(np.asarray(answer, dtype=np.float32)).to(images.device)


def read_onnx_text(path: Path, name: str) -> str:
    """Return a text of a model's metadata; empty where it has none of that name, or can't be read."""
    try:
        import onnx  # noqa: PLC0415 - an extra

        model = onnx.load_model(str(path), load_external_data=False)
    except Exception:  # noqa: BLE001 - whoever needs the model is told why
        return ""
    return next((entry.value for entry in model.metadata_props if entry.key == name), "")


def read_onnx(path: Path) -> ForeignNet:
    """Read a model; nothing of it is run but operators of the standard, and no file is opened outside its own folder.

    Raises:
        UserError: the package is missing, the file can't be read, or the model has a part that kd does not run.
    """
    try:
        import onnx  # noqa: PLC0415 - an extra
        import onnxruntime  # noqa: PLC0415 - the same
    except ImportError:
        raise UserError(f"{path}: needs the packages onnx and onnxruntime: pip install 'kd[onnx]'") from None
    try:
        model = onnx.load_model(str(path), load_external_data=False)
        beside = _external(model, path)
        onnx.load_external_data_for_model(model, str(path.parent))
        nodes = list(_nodes(model))
        _check_operators(model, nodes, path)
        name, dtype, sizes = _image_input(model, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # what is wrong is raised
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except UserError:
        raise
    except Exception as error:  # bytes of others make protobuf, onnx and onnxruntime raise nearly anything
        raise UserError(f"{path}: can't be read as an ONNX model ({reason(error)}); export it again") from error
    parameters = sum(math.prod(tensor.dims) for tensor in model.graph.initializer)
    return ForeignNet(OnnxModel(session, name, dtype, parameters), dtype, sizes, " ".join(map(file_digest, beside)))


def _external(model: "onnx.ModelProto", path: Path) -> list[Path]:
    """Return the files in which weights lie; refuse one outside the model's folder, and one that is not there."""
    folder = path.parent.resolve()
    files = set()
    for tensor in _tensors(model):
        for entry in tensor.external_data:
            if entry.key != "location":
                continue
            place = Path(entry.value)
            beside = (folder / place).resolve()
            if place.is_absolute() or not beside.is_relative_to(folder):
                raise UserError(
                    f"{path}: its weights lie in {printable(entry.value[:80])}, outside its folder; "
                    "export it with all weights in one file"
                )
            if not beside.is_file():
                raise UserError(
                    f"{path}: its weights lie in {printable(entry.value[:80])}, which is not beside it; put it there"
                )
            files.add(beside)
    return sorted(files)


def _check_operators(model: "onnx.ModelProto", nodes: Sequence["onnx.NodeProto"], path: Path) -> None:
    own = {(function.domain, function.name) for function in model.functions}
    foreign = [node for node in nodes if node.domain not in DOMAINS and (node.domain, node.op_type) not in own]
    if foreign:
        names = dict.fromkeys(printable(f"{node.domain}:{node.op_type}"[:80]) for node in foreign)
        raise UserError(
            f"{path}: it has operators that are not of the ONNX standard ({listed(names)}); export it with standard ones"
        )
    endless = [node.op_type for node in nodes if node.op_type in WITHOUT_END]
    if endless:
        raise UserError(f"{path}: it has an operator {endless[0]}, which may never end; export it without one")


def _image_input(model: "onnx.ModelProto", path: Path) -> tuple[str, torch.dtype, tuple[int | None, ...]]:
    """Return the name of the one input, the type of images there, and their sizes (B, C, H, W), None where any will do."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise UserError(
            f"{path}: it has {len(inputs)} inputs and {len(model.graph.output)} outputs; export it with one of each"
        )
    about = inputs[0].type.tensor_type
    sizes = tuple(size.dim_value if size.HasField("dim_value") and size.dim_value > 0 else None for size in about.shape.dim)
    if about.elem_type not in _DTYPES or len(sizes) != _RANK:
        raise UserError(f"{path}: its input is no batch of images (B, C, H, W) of float or uint8, but of rank {len(sizes)}")
    return inputs[0].name, _DTYPES[about.elem_type], sizes


def _nodes(model: "onnx.ModelProto") -> Iterator["onnx.NodeProto"]:
    """Yield all nodes, those of graphs within nodes and of functions too."""
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                waiting.extend(graph.node)


def _tensors(model: "onnx.ModelProto") -> Iterator["onnx.TensorProto"]:
    """Yield all tensors that a model holds."""
    yield from _of_graph(model.graph)
    for node in _nodes(model):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (attribute.g, *attribute.graphs):
                yield from _of_graph(graph)


def _of_graph(graph: "onnx.GraphProto") -> Iterator["onnx.TensorProto"]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
