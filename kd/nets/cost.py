"""The cost of a net: parameters, and multiply-adds per image."""

import copy
from collections.abc import Sequence

import torch
from torch import nn


def count_parameters(model: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_multiply_adds(model: nn.Module, image_shape: Sequence[int]) -> int:
    """Return the multiply-adds of one forward pass for one image of shape (C, H, W), as FlopCounterMode counts."""
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 - a slow import, of no use to a training

    # Not on the meta device, where a net can't look at its own numbers.
    copied = copy.deepcopy(model).eval()
    image = torch.zeros(1, *image_shape, dtype=torch.uint8)
    device = next(iter([*model.parameters(), *model.buffers()]), image).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        copied(image.to(device))
    return int(counter.get_total_flops()) // 2
