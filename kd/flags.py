"""The flags of the command line by the fields of the configuration; known without pydantic, which is slow to import."""

from kd.errors import UserError

SHORT_FLAGS = {"register_as": "--register"}
"""Flags of fields that have a second one, which is shown."""

OPPOSITES = {"resume": ("--fresh", "Begin anew: the same as --resume false.")}
"""Flags that say no to a field in a word of their own, with their help."""


def flags(field: str) -> list[str]:
    """Return the flags of a field: the one named after it, and the short one where there is one."""
    return [f"--{field.replace('_', '-')}", *filter(None, [SHORT_FLAGS.get(field)])]


def error_line(error: UserError) -> str:
    """Return an error as the command line shows it: the flag of its field in front."""
    return f"{flags(error.field)[-1]} {error}" if error.field else str(error)
