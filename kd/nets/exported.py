"""A model loaded back from pt2."""

from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn

if TYPE_CHECKING:
    pass  # a slow import


class Exported(nn.Module):
    """A model loaded back from pt2: always in evaluation mode, with the weights' names that it was trained with."""

    def __init__(self, program: nn.Module, *, logarithm: bool) -> None:
        super().__init__()
        self.program = program
        self._logarithm = logarithm

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (B, C, H, W) to logits (B, classes)."""
        outputs: torch.Tensor = self.program(images)
        # The smallest normal number stands for a probability of 0, whose logarithm is not finite.
        return outputs.clamp(min=torch.finfo(outputs.dtype).tiny).log() if self._logarithm else outputs

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002, FBT001, FBT002 - the signature of nn.Module
        """Do nothing: an exported program has one mode, and refuses to be asked for another."""
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the signature of nn.Module
        """Return the weights under the names that they had before the export."""
        return self.program.state_dict(*args, **kwargs)
