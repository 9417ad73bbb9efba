"""A net with the normalisation of its data set in front."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """A net with the normalisation of its data set in front: raw pixels in, logits out.

    This module is what is trained, exported and served, so that no caller can forget or repeat the normalisation.
    """

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        """Wrap ``net``; ``mean`` and ``std`` are per channel, for pixels in [0, 1]."""
        super().__init__()
        self.net = net
        # (pixel / 255 - mean) / std, as one multiplication and one addition
        scale = 1 / (255 * torch.tensor(std, dtype=torch.float32))  # (C,)
        shift = -torch.tensor(mean, dtype=torch.float32) / torch.tensor(std, dtype=torch.float32)  # (C,)
        self.scale = nn.Buffer(scale.view(1, -1, 1, 1))
        self.shift = nn.Buffer(shift.view(1, -1, 1, 1))
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Map pixels 0..255 (B, channels, H, W), any dtype, to logits (B, classes)."""
        x = images.to(self.scale.dtype) * self.scale + self.shift
        logits: Tensor = self.net(x.contiguous(memory_format=torch.channels_last))
        return logits
