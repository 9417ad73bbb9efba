"""Nets of others by name: torchvision's, timm's, and functions in a file or package of the user's own.

Such a function is code that runs. Its name is taken from whoever calls the library or types a command, never from a run, a
model, a study or a checkpoint.
"""

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from kd.errors import UserError, reason
from kd.machine.paths import user_path
from kd.nets.channels import RepeatedChannels

TORCHVISION, TIMM = "torchvision", "timm"
RGB = 3
WITHOUT_AUXILIARY: Mapping[str, Mapping[str, object]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
"""Arguments with which nets of torchvision answer with logits alone."""
SHOWN = 3
"""Names that are proposed in place of one that there is not."""

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
    function, module = _function(name, place, rest)
    return _of_function(function, args), _source_of(module)


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


def _function(name: str, place: str, rest: str) -> tuple[Callable[..., object], ModuleType]:
    try:
        module = _module_of_file(place) if place.endswith(".py") else importlib.import_module(place)
    except UserError:
        raise
    except Exception as error:  # the code of others raises anything
        raise UserError(f"{name}: {place} can't be imported ({reason(error)})", field="net") from error
    function = getattr(module, rest, None)
    if not callable(function):
        own = [word for word, value in vars(module).items() if callable(value) and not word.startswith("_")]
        alike = difflib.get_close_matches(rest, own, n=SHOWN)
        advice = f"; did you mean {' or '.join(alike)}?" if alike else ""
        raise UserError(f"{name}: {place} has no function {rest}{advice}", field="net")
    return function, module


def _module_of_file(place: str) -> ModuleType:
    """Import a file under a name of its own: equal names of files in two folders are two modules."""
    path = user_path(place, "net")
    if not path.is_file():
        raise UserError(f"{path}: no such file; give path/to/file.py:function", field="net")
    name = f"kd_net_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # noqa: S101 - there is a loader for every name that ends in .py
    assert spec.loader is not None  # noqa: S101 - the same
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where its classes look for themselves
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


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


def _source_of(module: ModuleType) -> str:
    """Return a digest of the file of a module: a changed one makes other nets."""
    file = getattr(module, "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else module.__name__
