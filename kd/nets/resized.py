"""Nets and models that see images at a size, and in channels, of their own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PX = "px"
"""The setting that asks for a net's own size."""


class Resized(nn.Module):
    """A net that sees images at a height of its own, in proportion, whatever the size of those that it is given."""

    def __init__(self, net: nn.Module, px: int) -> None:
        """Take a net, and the height in pixels at which it sees images."""
        super().__init__()
        self.net = net
        self.px = px
        self.seen_px = nn.Buffer(torch.tensor(px))  # part of the state: at another size it is another net

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, H, W) to the net's answer to (B, C, px, W px / H)."""
        height, width = images.shape[-2:]
        size = (self.px, max(1, round(width * self.px / height)))
        answer: Tensor = self.net(F.interpolate(images, size=size, mode="bilinear", antialias=True))
        return answer


class OwnShape(nn.Module):
    """A model of images of one shape, on those of another: resized, and with the one channel of grey images repeated."""

    def __init__(self, model: nn.Module, shape: Sequence[int]) -> None:
        """Take a model of uint8 images, and their shape (C, H, W)."""
        super().__init__()
        self.model = model
        self.shape = tuple(shape)
        self.seen_shape = nn.Buffer(torch.tensor(self.shape))  # as above

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 images (B, 1 or C, any height, any width) to the model's answer to them in its own shape."""
        channels, *size = self.shape
        seen = F.interpolate(images.float(), size=size, mode="bilinear", antialias=True).round().clamp(0, 255)
        answer: Tensor = self.model(seen.to(torch.uint8).expand(-1, channels, -1, -1))
        return answer
