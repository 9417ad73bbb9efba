"""A quicker residual net: the image is halved by pooling before each stage."""

from torch import Tensor, nn

from kd.nets.resnet import STAGES, initialise_convolutions


class ResidualLayer(nn.Module):
    """A 3x3 convolution with its norm and ReLU, and a shortcut around all three."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_convolution(channels, channels), *_norm_and_relu(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to the same shape."""
        change: Tensor = self.layers(x)
        return x + change


class PooledResNet(nn.Module):
    """A 3x3 stem of ``width / 2`` channels, then three stages of ``width``, 2 and 4 times ``width`` channels.

    The image is halved by max pooling before each stage, so that no wide convolution sees it whole: at depth 1 and width
    64 a step takes about a quarter of the multiply-adds of a :class:`ResNet` of depth 3 and width 32. A stage is a convolution
    to its channels and ``depth`` residual layers.
    """

    def __init__(self, num_classes: int, in_channels: int, depth: int, width: int) -> None:
        super().__init__()
        channels = max(1, width // 2)
        # The pooling comes before the norm, which then has a quarter of the pixels to go over.
        self.stem = nn.Sequential(_convolution(in_channels, channels), _pooling(), *_norm_and_relu(channels))
        layers: list[nn.Module] = []
        for stage in range(STAGES):
            before, channels = channels, width * 2**stage
            layers += [_pooling()] if stage else []
            layers += [_convolution(before, channels), *_norm_and_relu(channels)]
            layers += [ResidualLayer(channels) for _ in range(depth)]
        self.stages = nn.Sequential(*layers)
        self.head = nn.Linear(channels, num_classes)
        initialise_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (B, in_channels, H, W) to logits (B, num_classes)."""
        x = self.stages(self.stem(x))  # (B, 4 width, ceil(H / 8), ceil(W / 8))
        logits: Tensor = self.head(x.mean(dim=(2, 3)))  # (B, num_classes)
        return logits


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)


def _norm_and_relu(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), nn.ReLU(inplace=True)


def _pooling() -> nn.MaxPool2d:
    """Halve an image; a single row or column of pixels stays."""
    return nn.MaxPool2d(2, ceil_mode=True)
