"""Nets, by name or the caller's own, and their cost."""

from typing import TYPE_CHECKING

from kd.machine.lazy import loader

if TYPE_CHECKING:
    from kd.nets.classifier import Classifier
    from kd.nets.cost import count_multiply_adds, count_parameters
    from kd.nets.pooled import PooledResNet
    from kd.nets.registry import NETS
    from kd.nets.resnet import ResNet

__all__ = ["NETS", "Classifier", "PooledResNet", "ResNet", "count_multiply_adds", "count_parameters"]

# Loaded when first used: the configuration imports ``kd.nets.names``, and must not wait for torch.
__getattr__ = loader(
    __name__,
    {
        "NETS": "kd.nets.registry",
        "Classifier": "kd.nets.classifier",
        "PooledResNet": "kd.nets.pooled",
        "ResNet": "kd.nets.resnet",
        "count_multiply_adds": "kd.nets.cost",
        "count_parameters": "kd.nets.cost",
    },
)
