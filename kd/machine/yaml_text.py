"""YAML that somebody else may have written: values alone, or one error."""

import yaml

from kd.errors import reason


def read_yaml(text: str) -> object:
    """Return the value that a text in YAML holds: mappings, lists, texts, numbers, dates; no tag makes anything else.

    Raises:
        ValueError: it is no YAML, or a value of it is none of the type that it says it is.
    """
    try:
        return yaml.safe_load(text)
    except Exception as error:  # noqa: BLE001 - of a bad date or truth value PyYAML raises whatever comes
        raise ValueError(reason(error)) from None
