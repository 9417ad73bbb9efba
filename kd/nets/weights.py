"""Weights from files of others: a state dict, read as data, put into a net where names and shapes agree."""

import io
import struct
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from kd.errors import UserError, reason
from kd.machine.paths import open_file, user_path
from kd.machine.text import listed, printable

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights", "model_ema", "ema")
"""Names under which checkpoints of others hold a state dict."""
SAFETENSORS = ".safetensors"
MAX_SHOWN = 3
"""Names of tensors that are shown of those that do not fit."""
WEIGHTS = "weights"
"""The setting that names a file of first weights."""


@dataclass(frozen=True)
class LoadedWeights:
    """What became of the weights of a file."""

    loaded: int
    """Number of the net's tensors that have the file's values."""
    fresh: tuple[str, ...]
    """The net's tensors that keep their own first values: the file has none, or those of another shape."""
    unused: tuple[str, ...]
    """The file's tensors that the net has no place for."""
    other_shape: tuple[str, ...]
    """Those of ``fresh`` that the file has in another shape, such as the head of another number of classes."""

    def told(self, path: Path) -> str:
        """Return it in one line."""
        parts = [f"{self.loaded} tensors of {printable(path.name)} loaded"]
        if self.other_shape:
            parts.append(f"of another shape, so begun anew: {listed(self.other_shape)}")
        missing = [name for name in self.fresh if name not in self.other_shape]
        if missing:
            parts.append(f"not in the file: {listed(missing)}")
        if self.unused:
            parts.append(f"not in the net: {listed(self.unused)}")
        return "; ".join(parts)


def read_weights(file: str | Path) -> dict[str, Tensor]:
    """Read a state dict; nothing in the file is run.

    Args:
        file: safetensors, or what ``torch.save`` wrote; a dictionary may hold the state dict under one of :data:`WRAPPERS`.

    Raises:
        UserError: it can't be read, or it holds no tensors by name.
    """
    path = user_path(file, "weights")
    try:
        with open_file(path) as opened:
            content = opened.read()
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); name another file", field="weights") from None
    found = _safetensors(path, content) if path.suffix == SAFETENSORS else _torch(path, content)
    for name in WRAPPERS:
        inner = found.get(name) if isinstance(found, Mapping) else None
        if isinstance(inner, Mapping):
            found = inner
    tensors = (
        {str(name): value for name, value in found.items() if isinstance(value, Tensor)} if isinstance(found, Mapping) else {}
    )
    if not tensors:
        raise UserError(f"{path}: holds no tensors by name; give the state dict of a net", field="weights")
    return tensors


def _safetensors(path: Path, content: bytes) -> object:
    try:
        from safetensors.torch import load  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError(f"{path}: needs the package safetensors: pip install safetensors", field="weights") from None
    try:
        return load(content)
    except Exception as error:  # of a library of Rust's: none of Python's usual ones
        raise UserError(f"{path}: can't be read ({reason(error)}); name another file", field="weights") from error


def _torch(path: Path, content: bytes) -> object:
    if _is_compressed(content):
        raise UserError(f"{path}: it is compressed, as torch writes none; save the net's state_dict()", field="weights")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # bytes of others raise anything
        raise UserError(
            f"{path}: holds other things than tensors, or is damaged; save the net's state_dict()",
            field="weights",
        ) from error


def _is_compressed(content: bytes) -> bool:
    """Return whether a file is an archive with compressed parts, which may be of any size."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError, struct.error):
        return False


def put_weights(net: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> LoadedWeights:
    """Put tensors into a net where names and shapes agree; a prefix that all names share, such as ``module.``, does not count.

    Args:
        net: the net; it is changed in place.
        tensors: by name.
        path: their file, for messages.

    Raises:
        UserError: no tensor fits.
    """
    own = net.state_dict()
    renamed = _without_prefix(tensors, own)
    fitting = {name: value for name, value in renamed.items() if name in own and value.shape == own[name].shape}
    if not any(tensor.ndim > 1 for tensor in fitting.values()):
        raise UserError(
            f"{path}: none of its {len(tensors)} tensors ({listed(tensors, MAX_SHOWN)}) fits the net, whose tensors are "
            f"{listed(own, MAX_SHOWN)}; name the weights of this net",
            field="weights",
        )
    net.load_state_dict(fitting, strict=False)
    fresh = [name for name in own if name not in fitting]
    return LoadedWeights(
        len(fitting),
        tuple(fresh),
        tuple(name for name in renamed if name not in own),
        tuple(name for name in fresh if name in renamed),
    )


def _without_prefix(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by the net's names: without the prefix under which most of them fit."""
    prefixes = Counter({"": sum(name in own for name in tensors)})
    for name in tensors:
        parts = name.split(".")
        for count in range(1, len(parts)):
            if ".".join(parts[count:]) in own:
                prefixes[".".join(parts[:count]) + "."] += 1
    (prefix, _), *_ = prefixes.most_common(1)
    return {name.removeprefix(prefix): value for name, value in tensors.items()}
