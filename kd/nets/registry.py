"""The nets by name."""

from torch import nn

from kd.nets.names import NetName
from kd.nets.pooled import PooledResNet
from kd.nets.resnet import ResNet


def create_generalist_model(
    num_classes: int, in_channels: int, depth: int = 3, width: int = 32, kind: NetName = "resnet"
) -> nn.Module:
    """Return the large net that learns all classes and guides the others."""
    net = {"resnet": ResNet, "pooled": PooledResNet}[kind]
    return net(num_classes, in_channels, depth, width)


def create_specialist_model(num_classes: int, in_channels: int, depth: int = 1, width: int = 16) -> nn.Module:
    """Return the small net of a student (all classes) or a specialist (a group's classes, and the dustbin)."""
    return ResNet(num_classes, in_channels, depth, width)
