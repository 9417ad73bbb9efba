"""Names made of a user's text (classes, studies, runs) that file systems and MLflow take, as short as they have to be."""

import re

from kd.machine.text import nfc, printable

MAX_FILE_NAME_BYTES = 120
"""File systems end at 255, some that encrypt at 143; what is put behind a name needs up to 30."""
_NOT_IN_FILE_NAMES = re.compile(r'[-\s/\\:*?"<>|%#]+')
_CUT = "..."


def cut(text: str, most: int) -> str:
    """Return text of so many characters at most; ``...`` stands for what is cut off."""
    return text if len(text) <= most else text[: most - len(_CUT)] + _CUT


def file_name(text: str) -> str:
    """Return a name for files and folders: without blanks, separators, leading dots, or what acts on a terminal."""
    name = _NOT_IN_FILE_NAMES.sub("-", printable(_NOT_IN_FILE_NAMES.sub("-", nfc(text)))).lstrip(".")
    return name.encode()[:MAX_FILE_NAME_BYTES].decode(errors="ignore") or "unnamed"


def logged_model_name(text: str) -> str:
    """Return a name of a logged model, as :func:`file_name`, without what else MLflow refuses there."""
    return re.sub(r"[.'-]+", "-", file_name(text))


def metric_name(text: str) -> str:
    """Return a part of a metric's name, in which MLflow takes letters, digits, underscores, dots and dashes."""
    return re.sub(r"[^\w.-]+", "_", nfc(text))[:MAX_FILE_NAME_BYTES].lstrip(".") or "unnamed"
