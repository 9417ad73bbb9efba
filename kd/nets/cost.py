"""The cost of a net: parameters, and multiply-adds per image."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def count_parameters(model: nn.Module) -> int:
    """Return the number of trained parameters; a module that keeps some elsewhere has their number as ``other_parameters``."""
    elsewhere = sum(getattr(part, "other_parameters", 0) for part in model.modules())
    return sum(parameter.numel() for parameter in model.parameters()) + elsewhere


class _WithoutFirstWeights(TorchFunctionMode):
    """Leaves out the drawing of first weights, for which torch would load its compiler on the meta device."""

    def __torch_function__(
        self, func: Callable[..., Any], _types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> object:
        return args[0] if func in {Tensor.normal_, Tensor.uniform_} else func(*args, **(kwargs or {}))


def count_parameters_of(create: Callable[[], nn.Module]) -> int:
    """Return the number of trained parameters of the net that a function creates, and allocate none of them."""
    with torch.device("meta"), _WithoutFirstWeights():
        return count_parameters(create())


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
