"""Models as exported programs (pt2): written, read, and used as the nets that they were."""

import contextlib
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from kd.errors import UserError

EXAMPLE_IMAGES = 2
"""Images in the example that is exported with: a single one would freeze the batch dimension at 1."""


class Exported(nn.Module):
    """A model loaded back from pt2: always in evaluation mode, its weights under the names of training."""

    def __init__(self, program: nn.Module, *, logarithm: bool) -> None:
        super().__init__()
        self.program = program
        self._logarithm = logarithm

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (B, C, H, W) to logits (B, classes)."""
        outputs: torch.Tensor = self.program(images)
        # The logarithm of a probability of 0 is not finite: the smallest normal number stands for it.
        return outputs.clamp(min=torch.finfo(outputs.dtype).tiny).log() if self._logarithm else outputs

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002, FBT001, FBT002 - the signature of nn.Module
        """Do nothing: an exported program has one mode, and refuses to be asked for another."""
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the signature of nn.Module
        """Return the weights under the names that they had before the export."""
        return self.program.state_dict(*args, **kwargs)


def export(module: nn.Module, image_shape: Sequence[int]) -> ExportedProgram:
    """Return a module as a program on the CPU, for batches of any size.

    Args:
        module: maps uint8 images (B, C, H, W) to (B, classes); it stays on its device.
        image_shape: (C, H, W).

    Raises:
        UserError: torch can't export it.
    """
    was_on = next(iter([*module.parameters(), *module.buffers()]), torch.empty(0)).device
    example = torch.zeros(EXAMPLE_IMAGES, *image_shape, dtype=torch.uint8)
    try:
        program = torch.export.export(module.cpu().eval(), (example,), dynamic_shapes=({0: Dim.DYNAMIC},))
    except (RuntimeError, ValueError, TypeError, torch._dynamo.exc.TorchDynamoException) as error:  # noqa: SLF001 - no other name
        raise UserError(f"the net can't be exported ({next(iter(str(error).splitlines()), type(error).__name__)})") from error
    finally:
        module.to(was_on)
    return program


def write_program(program: ExportedProgram, path: Path, texts: Mapping[str, str]) -> None:
    """Write a program with texts beside it, whole or not at all.

    Raises:
        UserError: the file can't be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.pt2")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No complete tensor found in the group", UserWarning)  # at each export on the CPU
            torch.export.save(program, partial, extra_files=dict(texts))
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: can't be written ({error.strerror}); name another file") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def read_program(path: Path, names: Sequence[str]) -> tuple[nn.Module, dict[str, str]]:
    """Read a program and the texts of these names; a missing text is empty.

    Raises:
        UserError: there is no such file, or it is no exported program.
    """
    texts = dict.fromkeys(names, "")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; name a model that kd.save wrote")
    try:
        program = torch.export.load(path, extra_files=texts)
    except Exception as error:  # a damaged archive makes torch raise nearly anything
        raise UserError(f"{path}: can't be read as a model ({next(iter(str(error).splitlines()), '')})") from error
    return program.module(), {name: str(text) for name, text in texts.items()}
