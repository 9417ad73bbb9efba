"""The nets: CIFAR ResNets after He, Zhang, Ren and Sun (2015), section 4.2, and a quicker kind, of any width, depth and input.

To try a net of your own, change :func:`create_generalist_model` or :func:`create_specialist_model`: they may return
any module that maps normalised images (B, channels, H, W) to logits (B, num_classes).
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd.config import NetKind

STAGES = 3


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters (He et al., option A): subsampled, padded with zeros."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.added_channels = out_channels - in_channels
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, H, W) to (B, out, ceil(H / stride), ceil(W / stride))."""
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = self.norm2(self.conv2(out))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.added_channels:
            x = F.pad(x, (0, 0, 0, 0, 0, self.added_channels))
        return F.relu(out + x, inplace=True)


class ResNet(nn.Module):
    """A 3x3 stem, three stages of ``depth`` blocks with ``width``, 2 and 4 times ``width`` channels, a linear head."""

    def __init__(self, num_classes: int, in_channels: int, depth: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        blocks: list[nn.Module] = []
        channels = width
        for stage in range(STAGES):
            for block in range(depth):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(ResidualBlock(channels, width * 2**stage, stride))
                channels = width * 2**stage
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, num_classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (B, in_channels, H, W) to logits (B, num_classes)."""
        x = F.relu(self.norm(self.stem(x)), inplace=True)  # (B, width, H, W)
        x = self.blocks(x)  # (B, 4 width, H / 4, W / 4)
        logits: Tensor = self.head(x.mean(dim=(2, 3)))  # (B, num_classes)
        return logits


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
    64 a step has about a quarter of the multiply-adds of that of a :class:`ResNet` of depth 3 and width 32. A stage is a
    convolution to its channels and ``depth`` residual layers.
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
        _initialise(self)

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
    """Halve an image; one row or column of pixels stays."""
    return nn.MaxPool2d(2, ceil_mode=True)


def _initialise(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def create_generalist_model(
    num_classes: int, in_channels: int, depth: int = 3, width: int = 32, kind: NetKind = "resnet"
) -> nn.Module:
    """Return the large net that learns all classes and guides the others."""
    net = {"resnet": ResNet, "pooled": PooledResNet}[kind]
    return net(num_classes, in_channels, depth, width)


def create_specialist_model(num_classes: int, in_channels: int, depth: int = 1, width: int = 16) -> nn.Module:
    """Return the small net of a student (all classes) or a specialist (a group's classes, and the dustbin)."""
    return ResNet(num_classes, in_channels, depth, width)


class Classifier(nn.Module):
    """A net with the normalisation of its data set in front: raw pixels in, logits out.

    What is trained, exported and served is this module, so that no caller can forget or repeat the normalisation.
    """

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        """Wrap ``net``; ``mean`` and ``std`` are those of each channel, for pixels in [0, 1]."""
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


def count_parameters(model: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_multiply_adds(model: nn.Module, image_shape: Sequence[int]) -> int:
    """Return the multiply-adds of one forward pass for one image of shape (C, H, W), after FlopCounterMode."""
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 - a slow import, of no use to a training

    on_meta = copy.deepcopy(model).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        on_meta(torch.empty(1, *image_shape, dtype=torch.uint8, device="meta"))
    return int(counter.get_total_flops()) // 2
