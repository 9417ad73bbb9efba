"""Nets by name, and the caller's own nets in the same form."""

import contextlib
import copy
import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from kd.errors import UserError, reason
from kd.machine.text import with_article
from kd.nets.channels import RepeatedChannels
from kd.nets.default_weights import DEFAULT, default_weights
from kd.nets.named import creator
from kd.nets.names import ELSEWHERE, LARGE, NET_ARGS, arguments_text, is_named_elsewhere
from kd.nets.notes import note
from kd.nets.pooled import PooledResNet
from kd.nets.resized import PX, Resized
from kd.nets.resnet import ResNet
from kd.nets.small_stem import SMALL_STEM, with_small_stem
from kd.nets.weights import WEIGHTS, put_weights, read_weights

NETS: Mapping[str, Callable[..., nn.Module]] = {"resnet": ResNet, "pooled": PooledResNet}
"""Constructors of the nets by :data:`~kd.nets.names.NET_NAMES`; each takes (num_classes, in_channels, depth, width)."""

Net = str | nn.Module | Callable[[int, int], nn.Module]
"""A name of :data:`NETS`; a module to start from; or a function of ``(num_classes, in_channels)`` that returns one."""


@dataclass(frozen=True, eq=False)
class NetSpec:
    """A net that can be created again and again, always the same one for the same random state."""

    name: str
    create: Callable[[int, int], nn.Module]
    """Maps (num_classes, in_channels) to a module from normalised images (B, C, H, W) to logits (B, num_classes)."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Depth and width of kd's own nets; of others by name the arguments as a text, and what was asked of all."""
    is_own: bool = False
    """Whether it is none of kd's: its name alone does not say which net it is."""
    origin: str = ""
    """A text that differs between versions of the file or library that the net comes from."""
    any_classes: bool = True
    """Whether it can be created for any number of classes; a module has those that it came with."""

    def facts(self, num_classes: int, in_channels: int) -> dict[str, object]:
        """Return all that tells this net from others, for fingerprints: for the caller's own also its code and weights."""
        source = _source(self.create, num_classes, in_channels) if self.is_own else ""
        return {"name": self.name, "settings": dict(self.settings), "source": source, "origin": self.origin}


def net_spec(net: Net, settings: Mapping[str, object] | None = None, usual: Mapping[str, int] = LARGE) -> NetSpec:
    """Return a net of any form as one that can be created again and again.

    Args:
        net: a name, a module (each training starts from a copy of it) or a function of (num_classes, in_channels).
        settings: ``depth`` and ``width`` of kd's own nets; of other nets by name the arguments that they take. Of all by name
            ``weights``, a file of first weights or ``default`` (torchvision's own), ``small_stem``, whether the first layers
            are made fit for small images, and ``px``, the height at which the net sees images.
        usual: ``depth`` and ``width`` that ``settings`` leave open.

    Raises:
        UserError: there is no net of that name, no such setting, one below 1, a net without settings was given some, or
            there are no weights in the file.
    """
    if not isinstance(net, str):
        return _given(net, settings or {})
    own = {name: value for name, value in (settings or {}).items() if name not in CHANGES}
    spec = _named_elsewhere(net, own) if is_named_elsewhere(net) else _by_name(net, own, usual)
    for name, change in CHANGES.items():
        if settings and settings.get(name):
            spec = change(spec, settings[name])
    return spec


def _by_name(name: str, settings: Mapping[str, object], usual: Mapping[str, int]) -> NetSpec:
    if name not in NETS:
        raise UserError(f"unknown net {name!r}; choose one of {', '.join([*NETS, *ELSEWHERE])}, or give a module", field="net")
    create, sizes = NETS[name], {**usual, **_checked(settings)}
    return NetSpec(name, lambda classes, channels: create(classes, channels, **sizes), sizes)


def _named_elsewhere(name: str, args: Mapping[str, object]) -> NetSpec:
    create, origin = creator(name, args)
    told = {NET_ARGS: arguments_text(args)} if args else {}
    return NetSpec(name, lambda classes, channels: _created(name, create, classes, channels), told, is_own=True, origin=origin)


def _given(net: nn.Module | Callable[[int, int], nn.Module], settings: Mapping[str, object]) -> NetSpec:
    if settings:
        raise UserError(f"{', '.join(settings)}: only nets by name have such settings; set them in the net itself", field="net")
    if isinstance(net, nn.Module):
        _with_sizes(net, type(net).__name__)
        return NetSpec(type(net).__name__, lambda _classes, _channels: copy.deepcopy(net), is_own=True, any_classes=False)
    # A copy: a function that returns the same module each time would have a student start from its control's weights.
    own = getattr(net, "__name__", type(net).__name__)
    return NetSpec(own, lambda classes, channels: _created(own, net, classes, channels), is_own=True)


def _small_stem(spec: NetSpec, _: object) -> NetSpec:
    """Return a net whose first layers are made fit for small images."""

    def create(num_classes: int, in_channels: int) -> nn.Module:
        net = spec.create(num_classes, in_channels)
        return note(net, f"small stem: {with_small_stem(net, spec.name)}")

    return replace(spec, create=create, settings={**spec.settings, SMALL_STEM: True}, is_own=True)


def _weights(spec: NetSpec, file: object) -> NetSpec:
    """Return a net that begins with the weights of a file."""
    tensors, path = default_weights(spec.name) if file == DEFAULT else (read_weights(str(file)), Path(str(file)))

    def create(num_classes: int, in_channels: int) -> nn.Module:
        net = spec.create(num_classes, in_channels)
        inner = net.net if isinstance(net, RepeatedChannels) else net
        return note(net, put_weights(inner, tensors, path).told(path))

    return replace(spec, create=create, settings={**spec.settings, WEIGHTS: path.name}, is_own=True)


def _at_px(spec: NetSpec, px: object) -> NetSpec:
    """Return a net that sees images at a height of its own."""
    if type(px) is not int or px < 1:
        raise UserError(f"{px!r} can't be the height of images; give a number of pixels", field=PX)

    def create(num_classes: int, in_channels: int) -> nn.Module:
        return note(Resized(spec.create(num_classes, in_channels), px), f"it sees images at a height of {px} px")

    return replace(spec, create=create, settings={**spec.settings, PX: px}, is_own=True)


CHANGES: Mapping[str, Callable[[NetSpec, object], NetSpec]] = {SMALL_STEM: _small_stem, WEIGHTS: _weights, PX: _at_px}
"""What every net by name can be asked for, in the order in which it is done."""


def _created(name: str, net: Callable[[int, int], nn.Module], num_classes: int, in_channels: int) -> nn.Module:
    try:
        created = net(num_classes, in_channels)
    except Exception as error:  # the code of others raises anything
        raise UserError(f"{name}({num_classes}, {in_channels}) can't make a net ({reason(error)})", field="net") from error
    if not isinstance(created, nn.Module):
        found = with_article(type(created).__name__)
        raise UserError(f"{name}({num_classes}, {in_channels}) returned {found}, not a module", field="net")
    return copy.deepcopy(_with_sizes(created, name))


def _with_sizes(net: nn.Module, name: str) -> nn.Module:
    """Return a net, unless a size in it is only known once it has seen images: it has no weights to count or to compare."""
    if any(is_lazy(part) for part in [*net.parameters(), *net.buffers()]):
        raise UserError(f"{name} has lazy layers, without weights yet; give their sizes, or show it a batch first", field="net")
    return net


def _checked(settings: Mapping[str, object]) -> Mapping[str, int]:
    sizes = {}
    for name, value in settings.items():
        if name not in LARGE:
            raise UserError(
                f"{name} is no setting of a net; {' and '.join(LARGE)} are; a recipe's settings go into kd.Recipe", field="net"
            )
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{value!r} can't be a net's {name}; give 1 or more", field=name)
        sizes[name] = value
    return sizes


def _source(create: Callable[[int, int], nn.Module], num_classes: int, in_channels: int) -> str:
    """Return a digest of the code, the structure and the first weights of the module that a function creates.

    The function's own code is not enough: a partial has none, and the values of a closure are not in it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = create(num_classes, in_channels)
    digest = hashlib.sha256(repr(module).encode())
    kinds = {kind for part in module.modules() for kind in type(part).__mro__}
    for code in sorted(_code(kind) for kind in kinds if kind.__module__.partition(".")[0] not in {"builtins", "torch"}):
        digest.update(code.encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def _code(kind: type) -> str:
    """Return the source of a class; where it was typed into a notebook, that of its methods; else its name."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        methods = [method for method in vars(kind).values() if inspect.isfunction(method)]
        with contextlib.suppress(OSError, TypeError):
            return "".join(map(inspect.getsource, methods))
        return kind.__qualname__
