"""Models as exported programs (pt2): written, read, and used as the nets that they were."""

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn
from torch.export import Dim
from torch.fx import GraphModule

from kd.errors import UserError, reason
from kd.machine.files import write_whole
from kd.nets.archive import open_archive
from kd.nets.foreign import ForeignNet
from kd.nets.log_probabilities import log_probabilities
from kd.nets.program import Program

EXAMPLE_IMAGES = 2
"""Images in the example that is exported with: a single one would freeze the batch dimension at 1."""


class Exported(nn.Module):
    """A model loaded back from pt2: always in evaluation mode, its weights under the names of training."""

    def __init__(self, program: Program, *, logarithm: bool) -> None:
        super().__init__()
        self.program = program
        self._logarithm = logarithm

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (B, C, H, W) to logits (B, classes)."""
        outputs: torch.Tensor = self.program(images)
        return log_probabilities(outputs) if self._logarithm else outputs

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002, FBT001, FBT002 - the signature of nn.Module
        """Do nothing: an exported program has one mode, and refuses to be asked for another."""
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the signature of nn.Module
        """Return the weights under the names that they had before the export."""
        return self.program.state_dict(*args, **kwargs)


def write_program(module: nn.Module, image_shape: Sequence[int], path: Path, texts: Mapping[str, str]) -> None:
    """Write a module as a program on the CPU, for batches of any size, with texts beside it: whole or not at all.

    Args:
        module: maps uint8 images (B, C, H, W) to (B, classes); it stays on its device.
        image_shape: (C, H, W).
        path: the file.
        texts: texts by name.

    Raises:
        UserError: torch can't export it, or the file can't be written.
    """
    was_on = next(iter([*module.parameters(), *module.buffers()]), torch.empty(0)).device
    try:
        # The program shares the module's tensors: it is on the CPU for as long as they are.
        program = _bytes(module.cpu().eval(), image_shape, texts)
    finally:
        module.to(was_on)
    try:
        write_whole(path, program.getbuffer())
    except OSError as error:
        # Without the path of the error, that of a temporary file.
        raise UserError(f"{path}: can't be written ({error.strerror}); name another file") from error


def _bytes(module: nn.Module, image_shape: Sequence[int], texts: Mapping[str, str]) -> io.BytesIO:
    example = torch.zeros(EXAMPLE_IMAGES, *image_shape, dtype=torch.uint8)
    buffer = io.BytesIO()
    try:
        program = torch.export.export(module, (example,), dynamic_shapes=({0: Dim.DYNAMIC},))
    except (RuntimeError, ValueError, TypeError, torch._dynamo.exc.TorchDynamoException) as error:  # noqa: SLF001 - no other name
        raise UserError(f"the net can't be exported ({reason(error)})") from error
    _forget_places(program.graph_module)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No complete tensor found in the group", UserWarning)  # at each export on the CPU
        torch.export.save(program, buffer, extra_files=dict(texts))
    try:
        with open_archive(buffer) as archive:
            archive.program()
    except Exception as error:  # what another version of torch writes may lack any part
        raise UserError(f"the net can't be exported, since it could not be read again ({reason(error)})") from error
    return buffer


def read_text(path: Path, name: str) -> str:
    """Return a text beside a program; empty where there is none of that name.

    Raises:
        UserError: there is no such file, it is no archive, or it is damaged.
    """
    with _reading(path), open_archive(path) as archive:
        return archive.text(name)


def read_model(path: Path, image_shape: Sequence[int], outputs: int, *, logarithm: bool) -> Exported:
    """Read a program as data, and try it on black images: nothing in the file is run, unpickled or evaluated.

    Args:
        path: the file.
        image_shape: (C, H, W) of its images.
        outputs: numbers that it gives per image.
        logarithm: whether the program gives probabilities, whose logarithms are wanted.

    Raises:
        UserError: there is no such file, it is damaged, the program has a part that kd does not run, or it does not map such
            images to so many numbers.
    """
    with _reading(path), open_archive(path) as archive:
        model = Exported(archive.program(), logarithm=logarithm)
        with torch.inference_mode():
            answer = model(torch.zeros(EXAMPLE_IMAGES, *image_shape, dtype=torch.uint8))
        if not answer.is_floating_point() or answer.shape != (EXAMPLE_IMAGES, outputs):
            raise ValueError(f"it does not give {outputs} numbers for an image of shape {list(image_shape)}")
        return model


def read_foreign_program(path: Path) -> ForeignNet:
    """Read a program that others exported, as data: as :func:`read_model`, whatever images it takes.

    Raises:
        UserError: there is no such file, it is damaged, or the program has a part that kd does not run.
    """
    with (
        _reading(path, "save it again, with kd.save or torch.export of torch 2.9 or newer"),
        open_archive(path) as archive,
    ):
        program = archive.program()
    return ForeignNet(Exported(program, logarithm=False), program.image_dtype, program.image_sizes)


@contextmanager
def _reading(path: Path, advice: str = "save it again with kd.save") -> Iterator[None]:
    try:
        _check_there(path)
        yield
    except (UserError, KeyboardInterrupt):
        raise
    except Exception as error:  # damaged bytes make zipfile, json and torch raise nearly anything
        raise UserError(f"{path}: can't be read as a model ({reason(error)}); {advice}") from error


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; name a model that kd.save wrote")


def _forget_places(module: nn.Module) -> None:
    """Forget which lines of which files on this machine a graph was traced from: a model is sent to others."""
    for part in module.modules():
        if isinstance(part, GraphModule):
            for node in part.graph.nodes:
                node.meta.pop("stack_trace", None)
