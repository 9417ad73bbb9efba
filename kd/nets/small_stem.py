"""Stems of nets for large images, made fit for small ones."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kd.errors import UserError

SMALL_STEM = "small_stem"
"""The setting that asks for it."""
SMALL_PX = 64
"""Height below which images are small for nets that were made for those of 224 px."""
MAX_SMALL_MAP_PX = 2
"""Side of the last map of features that has lost where things are in an image."""


def with_small_stem(net: nn.Module, name: str) -> str:
    """Let a net's first convolution keep the size of the images, and take a pooling right behind it away.

    The first convolution becomes one of 3 x 3 with stride 1 and the same numbers of channels, as in the ResNets for CIFAR
    (He et al. 2015, section 4.2). The net is changed in place.

    Args:
        net: the net.
        name: its name, for messages.

    Returns:
        What was changed, in words.

    Raises:
        UserError: the net has no first convolution that halves images: there is no stem to change.
    """
    convolutions = _convolutions(net)
    why = _why_no_stem(convolutions)
    if why:
        raise UserError(f"{name} {why}; leave it as it is", field=SMALL_STEM)
    layers = _layers(net)
    (place, first), rest = convolutions[0], convolutions[1:]
    smaller = nn.Conv2d(first.in_channels, first.out_channels, 3, 1, 1, bias=first.bias is not None)
    _replace(net, place, smaller)
    done = f"{place} {first.kernel_size[0]} x {first.kernel_size[1]} of stride {first.stride[0]} became 3 x 3 of stride 1"
    names = [layer for layer, _ in layers]
    before = names.index(rest[0][0]) if rest else len(names)
    for layer, module in layers[:before]:
        if isinstance(module, nn.MaxPool2d):
            _replace(net, layer, nn.Identity())
            done += f", {layer} was taken away"
    return done


def small_stem_hint(net: nn.Module, image: Tensor) -> str:
    """Return that a net halves small images too often, in words; empty: it does not, or has no stem to change.

    Args:
        net: the net.
        image: one of the images that it is to see, (1, C, H, W), as it takes them.
    """
    convolutions = _convolutions(net)
    if image.shape[2] >= SMALL_PX or _why_no_stem(convolutions):
        return ""
    left: list[tuple[int, ...]] = []
    hooks = [layer.register_forward_hook(lambda *seen: left.append(tuple(seen[2].shape[2:]))) for _, layer in convolutions]
    try:
        with torch.inference_mode():
            net.eval()(image)
    finally:
        for hook in hooks:
            hook.remove()
    if not left or min(left[-1]) > MAX_SMALL_MAP_PX:
        return ""
    sizes = [" x ".join(map(str, size)) for size in (image.shape[2:], left[-1])]
    return f"images of {sizes[0]} px are {sizes[1]} behind its last convolution: it was made for larger ones"


def _layers(net: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, module) for name, module in net.named_modules() if not list(module.children())]


def _convolutions(net: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    return [(name, module) for name, module in _layers(net) if isinstance(module, nn.Conv2d)]


def _why_no_stem(convolutions: Sequence[tuple[str, nn.Conv2d]]) -> str:
    """Return why a net has no first convolution that halves images; empty: it has one."""
    if not convolutions or max(convolutions[0][1].stride) == 1:
        return "has no first convolution of more than one stride"
    first = convolutions[0][1]
    if first.groups != 1 or first.stride == first.kernel_size:
        return "cuts images into patches, and has no stem"
    return ""


def _replace(net: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, module)
