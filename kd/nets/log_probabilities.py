"""Logits from the answers of a net that gives probabilities."""

import torch
from torch import Tensor, nn


def log_probabilities(probabilities: Tensor) -> Tensor:
    """Return the logarithm of probabilities (B, classes): logits whose softmax they are.

    The logarithm of a probability of 0 is not finite: the smallest normal number stands for it.
    """
    return probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()


class LogProbabilities(nn.Module):
    """A net that gives probabilities, as one that gives logits."""

    def __init__(self, net: nn.Module) -> None:
        """Wrap ``net``, which maps images to probabilities (B, classes)."""
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, classes)."""
        return log_probabilities(self.net(images))
