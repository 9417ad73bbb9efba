"""The YAML file of settings that ``--config`` names."""

from pathlib import Path
from typing import Any

import yaml

from kd.config.base import shown
from kd.errors import UserError, reason
from kd.machine.paths import open_file

MAX_SETTINGS_BYTES = 2**20


class _TextLoader(yaml.BaseLoader):
    """Reads all values of YAML as text, as flags are: no tag, date, number of base 60 or code has a meaning of its own."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - yaml's
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for place, name in enumerate(names):
            if name in names[:place]:
                raise yaml.constructor.ConstructorError(problem=f"{name} is set twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def load_settings(path: str) -> dict[str, Any]:
    """Read a YAML file of settings, as ``--config`` takes it: a flat mapping of field names to values, as text.

    Raises :class:`~kd.errors.UserError` where the file is missing or is not such a mapping.
    """
    try:
        with open_file(Path(path).expanduser().absolute()) as file:
            content = file.read(MAX_SETTINGS_BYTES + 1)
    except (OSError, RuntimeError, ValueError) as error:  # no such user's home, or a NUL in the path
        raise UserError(f"{path}: can't be read ({reason(error)}); give a YAML file of settings", field="config") from None
    if len(content) > MAX_SETTINGS_BYTES:
        raise UserError(f"{path}: longer than {MAX_SETTINGS_BYTES:,} bytes; give a YAML file of settings", field="config")
    try:
        settings = yaml.load(content, Loader=_TextLoader)  # noqa: S506 - it makes text, lists and mappings, nothing else
    except RecursionError:
        raise UserError(f"{path}: no valid YAML (nested too deeply)", field="config") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no valid YAML ({shown(error)})", field="config") from None
    if not isinstance(settings, dict):
        raise UserError(f"{path}: expected lines such as 'temperature: 4'", field="config")
    return settings
