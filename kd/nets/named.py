"""Nets of others by name: torchvision's, timm's, and functions in a file or package of the user's own."""

import difflib
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from kd.errors import UserError
from kd.machine.user_code import SHOWN, user_function
from kd.nets.channels import RepeatedChannels

TORCHVISION, TIMM = "torchvision", "timm"
RGB = 3
WITHOUT_AUXILIARY: Mapping[str, Mapping[str, object]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
"""Arguments with which nets of torchvision answer with logits alone."""

Create = Callable[[int, int], nn.Module]


def creator(name: str, args: Mapping[str, object]) -> tuple[Create, str]:
    """Return what creates a net, and a text that tells its source from others.

    Args:
        name: ``torchvision:NAME``, ``timm:NAME``, ``package.module:function`` or ``path/to/file.py:function``.
        args: arguments of the net beside the number of classes and of channels.

    Raises:
        UserError: there is no such net, package, file or function, or it can't be imported.
    """
    place, _, rest = name.rpartition(":")
    if place == TORCHVISION:
        return _torchvision(rest, args)
    if place == TIMM:
        return _timm(rest, args)
    function, source = user_function(name, "net")
    return _of_function(function, args), source


def _torchvision(name: str, args: Mapping[str, object]) -> tuple[Create, str]:
    import torchvision  # noqa: PLC0415 - a slow import

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise _unknown(TORCHVISION, name, known)
    arguments = {**WITHOUT_AUXILIARY.get(name, {}), **args}

    def create(num_classes: int, in_channels: int) -> nn.Module:
        net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **arguments)
        return net if in_channels == RGB else RepeatedChannels(net, RGB)

    return create, f"torchvision {torchvision.__version__}"


def _timm(name: str, args: Mapping[str, object]) -> tuple[Create, str]:
    try:
        timm = importlib.import_module(TIMM)
    except ImportError:
        raise UserError(f"timm:{name} needs the package timm: pip install timm", field="net") from None
    if not timm.is_model(name):
        raise _unknown(TIMM, name, timm.list_models())

    def create(num_classes: int, in_channels: int) -> nn.Module:
        net: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=in_channels, **args)
        return net

    return create, f"timm {timm.__version__}"


def _unknown(library: str, name: str, known: list[str]) -> UserError:
    alike = difflib.get_close_matches(name, known, n=SHOWN)
    advice = f"did you mean {' or '.join(alike)}?" if alike else f"{library} has {len(known)}, for example {known[0]}"
    return UserError(f"{library}:{name}: no such net; {advice}", field="net")


def _of_function(function: Callable[..., object], args: Mapping[str, object]) -> Create:
    taken = _taken(function)

    def create(num_classes: int, in_channels: int) -> nn.Module:
        given: dict[str, Any] = {"num_classes": num_classes, "in_channels": in_channels}
        net = function(**{name: value for name, value in given.items() if name in taken}, **args)
        if isinstance(net, nn.Module) and "in_channels" not in taken and in_channels == 1:
            return RepeatedChannels(net, RGB)
        return net  # type: ignore[return-value] # the registry refuses what is no module

    return create


def _taken(function: Callable[..., object]) -> set[str]:
    """Return the names of the arguments that a function takes; one of ``**kwargs`` hands the number of classes on."""
    parameters = inspect.signature(function).parameters.values()
    names = {parameter.name for parameter in parameters}
    return (
        names | {"num_classes"} if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters) else names
    )
