"""The command that a configuration came from, as it would be typed."""

import shlex

from kd.config import Config
from kd.flags import flags
from kd.machine.secrets import masked
from kd.tracking.params import canonical

PLACES = {"data_root", "transfer_root"}
"""Settings that decide no result by themselves, but without which the images are not found."""


def typed(command: str, config: Config) -> str:
    """Return the command that does the same: with the settings that are not the defaults, without secrets."""
    kind = type(config)
    switches = kind.switches() - PLACES
    words = [f"kd {command}"]
    for name, field in kind.model_fields.items():
        value = getattr(config, name)
        if name in switches or value == field.default:
            continue
        text, extra = shlex.quote(_exact(value)), field.json_schema_extra
        if isinstance(extra, dict) and "argument" in extra:
            words.insert(1, text)
        else:
            words.append(f"{flags(name)[-1]} {text}")
    return masked(" ".join(words))


def _exact(value: object) -> str:
    """Return a value as text from which the same one is read: a number that was computed has more digits than params show."""
    text = canonical(value)
    return repr(value) if isinstance(value, float) and float(text) != value else text
