"""A model of many classes, restricted to some of them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Columns(nn.Module):
    """A model of which some logits are taken, in an order of one's own."""

    def __init__(self, model: nn.Module, columns: Sequence[int]) -> None:
        """Take a model, and the numbers of the logits that are taken."""
        super().__init__()
        self.model = model
        self.columns = nn.Buffer(torch.tensor(columns))  # part of the state: of other classes it is another model

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to the logits of the columns (B, len(columns))."""
        logits: Tensor = self.model(images)
        return logits[:, self.columns]
