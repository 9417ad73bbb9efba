"""Stems of nets for large images, made fit for small ones."""

from torch import nn

from kd.errors import UserError

SMALL_STEM = "small_stem"
"""The setting that asks for it."""


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
    layers = [(name, module) for name, module in net.named_modules() if not list(module.children())]
    convolutions = [(name, module) for name, module in layers if isinstance(module, nn.Conv2d)]
    if not convolutions or max(convolutions[0][1].stride) == 1:
        raise UserError(f"{name} has no first convolution of more than one stride; leave it as it is", field=SMALL_STEM)
    (place, first), rest = convolutions[0], convolutions[1:]
    if first.groups != 1 or first.stride == first.kernel_size:
        raise UserError(f"{name} cuts images into patches, and has no stem; leave it as it is", field=SMALL_STEM)
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


def _replace(net: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, module)
