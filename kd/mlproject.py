"""The text of the file MLproject, made from the configurations: ``python -m kd.mlproject > MLproject``."""

import sys

from kd.cli import COMMANDS, config_class
from kd.flags import flags
from kd.tracking.params import canonical

ENTRY_POINTS = {"pipeline": "main"}
"""Entry points whose name is not their command's: ``main`` is what ``mlflow run .`` runs."""
_KINDS = {int: "int", float: "float"}


def render() -> str:
    """Return the text of MLproject: an entry point per command, a parameter per field."""
    entries = "\n".join(_entry(command) for command in COMMANDS)
    return f"name: kd\n\nconda_env: conda.yaml\n\nentry_points:\n{entries}"


def _entry(command: str) -> str:
    fields = config_class(command).model_fields
    lines = [f"  {ENTRY_POINTS.get(command, command)}:", "    parameters:"]
    for name, field in fields.items():
        kind = _KINDS.get(type(field.default), "string")
        lines.append(f'      {name}: {{type: {kind}, default: "{canonical(field.default)}"}}')
    passed = [f"{flags(name)[0]} {{{name}}}" for name in fields]
    # The interpreter that runs the project, whatever stands first on PATH.
    lines += ["    command: >-", f"      python -m kd {command}", *(f"      {flag}" for flag in passed)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
