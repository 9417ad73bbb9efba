"""Nets by name, and the caller's own nets in the same form."""

import copy
import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from kd.errors import UserError
from kd.nets.names import LARGE
from kd.nets.pooled import PooledResNet
from kd.nets.resnet import ResNet

NETS: Mapping[str, Callable[..., nn.Module]] = {"resnet": ResNet, "pooled": PooledResNet}
"""Constructors of the nets by :data:`~kd.nets.names.NetName`; each takes (num_classes, in_channels, depth, width)."""

Net = str | nn.Module | Callable[[int, int], nn.Module]
"""A name of :data:`NETS`; a module to start from; or a function of ``(num_classes, in_channels)`` that returns one."""


@dataclass(frozen=True, eq=False)
class NetSpec:
    """A net that can be created again and again, always the same one for the same random state."""

    name: str
    create: Callable[[int, int], nn.Module]
    """Maps (num_classes, in_channels) to a module from normalised images (B, C, H, W) to logits (B, num_classes)."""
    settings: Mapping[str, int] = field(default_factory=dict)
    """Depth and width; empty for a net that has no such settings."""
    source: str = ""
    """Digest of what the name does not say: the code of a net of one's own, and the weights that it starts from."""

    def facts(self) -> dict[str, object]:
        """Return all that tells this net from others, for fingerprints."""
        return {"name": self.name, "settings": dict(self.settings), "source": self.source}


def net_spec(net: Net, settings: Mapping[str, int] | None = None, usual: Mapping[str, int] = LARGE) -> NetSpec:
    """Return a net of any form as one that can be created again and again.

    Args:
        net: a name, a module (each training starts from a copy of it) or a function of (num_classes, in_channels).
        settings: ``depth`` and ``width`` of a net by name.
        usual: ``depth`` and ``width`` that ``settings`` leave open.

    Raises:
        UserError: there is no net of that name, or a net without settings was given some.
    """
    if isinstance(net, str):
        if net not in NETS:
            raise UserError(f"unknown net {net!r}; choose one of {', '.join(NETS)}, or give a module", field="net")
        create, sizes = NETS[net], {**usual, **(settings or {})}
        return NetSpec(net, lambda classes, channels: create(classes, channels, **sizes), sizes)
    if settings:
        raise UserError(f"{', '.join(settings)}: only nets by name have such settings; set them in the net itself", field="net")
    if isinstance(net, nn.Module):
        return NetSpec(type(net).__name__, lambda _classes, _channels: copy.deepcopy(net), source=_module_source(net))
    return NetSpec(getattr(net, "__name__", type(net).__name__), net, source=_digest(_code(net).encode()))


def _module_source(module: nn.Module) -> str:
    parts = [_code(type(module)).encode(), repr(module).encode()]
    for name, tensor in module.state_dict().items():
        parts += [name.encode(), tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()]
    return _digest(*parts)


def _code(thing: Callable[..., object]) -> str:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):  # typed into an interpreter, or written in C
        return getattr(thing, "__qualname__", type(thing).__qualname__)


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:32]
