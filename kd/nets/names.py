"""The names of nets, their usual sizes and their arguments, known without torch."""

from collections.abc import Mapping

from kd.errors import UserError

NET_NAMES = ("resnet", "pooled")
"""resnet: after He et al. (2015); pooled: each stage begins with pooling, which is quicker."""

ELSEWHERE = ("torchvision:NAME", "timm:NAME", "package.module:function", "path/to/file.py:function")
"""The forms of the names of other nets."""

LARGE: Mapping[str, int] = {"depth": 3, "width": 32}
"""Usual size of a teacher: residual blocks per stage, and channels of the first stage."""
SMALL: Mapping[str, int] = {"depth": 1, "width": 16}
"""Usual size of a student or a specialist."""
LARGEST: Mapping[str, int] = {"depth": 1000, "width": 2**20}

STATE_DICTS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
"""Endings of the names of files of weights alone."""

NET_ARGS = "net_args"
"""The setting that holds the arguments of a net that is not kd's own."""


def is_named_elsewhere(name: str) -> bool:
    """Return whether a name is of a net that is not kd's own, in one of the forms of :data:`ELSEWHERE`."""
    return ":" in name


def arguments(text: str) -> dict[str, object]:
    """Return the arguments of a net from a text such as ``dropout=0.1,heads=4``: numbers, true, false, or text.

    Raises:
        UserError: a part of it is not NAME=VALUE, or a name stands there twice.
    """
    found: dict[str, object] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not name.isidentifier() or name in found:
            raise UserError(f"{part}: expected NAME=VALUE,NAME=VALUE, each name once", field=NET_ARGS)
        found[name] = _value(value)
    return found


def arguments_text(args: Mapping[str, object]) -> str:
    """Return arguments as the text that :func:`arguments` reads."""
    return ",".join(f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in args.items())


def _value(text: str) -> object:
    if text in {"true", "false"}:
        return text == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
