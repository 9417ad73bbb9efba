"""The paper's net for MNIST: hidden layers of ReLU units, with dropout and a bound on the weights where it is a teacher."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INPUT_DROPOUT: Final = 0.2
HIDDEN_DROPOUT: Final = 0.5
MAX_NORM: Final = 15**0.5
"""Largest length of the weights into one unit. These three are of Hinton et al. (2012, arXiv:1207.0580, appendix A), to whom
the paper refers (section 3)."""


class BoundedLinear(nn.Linear):
    """A linear layer whose weights into each unit have a bounded length; they are shortened before each step."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs) to (B, outputs)."""
        if self.training:
            with torch.no_grad():
                self.weight.copy_(torch.renorm(self.weight, p=2, dim=0, maxnorm=MAX_NORM))
        return F.linear(x, self.weight, self.bias)


class MLP(nn.Sequential):
    """A multilayer perceptron: the pixels, hidden layers of ReLU units, and logits."""

    def __init__(self, inputs: int, num_classes: int, *, width: int, depth: int, regularised: bool) -> None:
        """Take the number of pixels times channels, of classes, of units per hidden layer, and of hidden layers."""
        linear = BoundedLinear if regularised else nn.Linear
        layers: list[nn.Module] = [nn.Flatten(), *([nn.Dropout(INPUT_DROPOUT)] if regularised else [])]
        before = inputs
        for _ in range(depth):
            layers += [linear(before, width), nn.ReLU(), *([nn.Dropout(HIDDEN_DROPOUT)] if regularised else [])]
            before = width
        super().__init__(*layers, linear(before, num_classes))


def mlp(  # noqa: PLR0913 - the settings of a net
    num_classes: int, in_channels: int, *, px: int = 28, width: int = 800, depth: int = 2, regularised: bool = False
) -> MLP:
    """Return the paper's net for MNIST: 800 units per layer for a student, 1,200 and ``regularised`` for its teacher.

    On the command line: ``--net kd.nets.mlp:mlp --net-args px=28,width=800``.

    Args:
        num_classes: number of logits.
        in_channels: channels of the images.
        px: height and width of the images.
        width: units per hidden layer.
        depth: hidden layers.
        regularised: whether there is dropout, and a bound on the length of the weights into each unit.
    """
    return MLP(in_channels * px * px, num_classes, width=width, depth=depth, regularised=regularised)
