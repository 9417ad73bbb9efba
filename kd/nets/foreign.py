"""Nets that others wrote to a file, and what is done to use them: batches of their size, and a digest of the file."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class ForeignNet:
    """A net from a file of others, as it takes images."""

    module: nn.Module
    """Maps images to numbers per class."""
    dtype: torch.dtype
    """Type of the images that it takes: uint8 are raw pixels."""
    sizes: tuple[int | None, ...]
    """(B, C, H, W) of them; None: any."""
    beside: str = ""
    """Digest of what decides its answers beside its file: the code of a state dict's net, files of weights; empty: nothing."""


class FixedBatch(nn.Module):
    """A net of batches of one size, on those of any: in parts, the last of which is filled up."""

    def __init__(self, net: nn.Module, size: int) -> None:
        """Take a net, and the number of images that it takes at once."""
        super().__init__()
        self.net = net
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """Map any number of images (B, C, H, W) to the net's answers (B, classes)."""
        answers = [self._answer(part) for part in torch.split(images, self.size)]
        return torch.cat(answers)

    def _answer(self, part: Tensor) -> Tensor:
        missing = self.size - len(part)
        filled = torch.cat([part, part[-1:].expand(missing, -1, -1, -1)]) if missing else part
        answer: Tensor = self.net(filled)
        return answer[: len(part)]


class FromFile(nn.Module):
    """A model from a file of others, always in evaluation mode, whose state holds the digest of the file: the graph too."""

    def __init__(self, model: nn.Module, sha256: str) -> None:
        """Take a model of uint8 images, and the digest of its file and of what decides its answers beside it."""
        super().__init__()
        self.model = model
        self.file_sha256 = nn.Buffer(torch.tensor(list(bytes.fromhex(sha256)), dtype=torch.uint8))
        super().train(mode=False)
        self.requires_grad_(requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 images (B, C, H, W) to logits (B, classes)."""
        answer: Tensor = self.model(images)
        return answer

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002, FBT001, FBT002 - the signature of nn.Module
        """Do nothing: it is used as it is."""
        return self
