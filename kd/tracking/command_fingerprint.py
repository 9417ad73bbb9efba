"""The fingerprint of a command: the same for the same command on the same data, by which it is known again after a stop."""

import hashlib
import json
from collections.abc import Mapping

COMMAND_FINGERPRINT = "kd.command_fingerprint"
"""Tag of a command's parent run."""

SETTINGS_FINGERPRINT = "kd.settings_fingerprint"
"""Tag of the same run: of its command and settings alone, whatever the images, the nets' code and kd's version."""


def command_fingerprint(command: str, settings: Mapping[str, str], data_digest: str, version: str) -> str:
    """Return 32 hex digits over what decides the result of a command.

    Args:
        command: its name.
        settings: the settings that decide a result, as text by name.
        data_digest: digest of the data set.
        version: kd's version.
    """
    text = json.dumps({"command": command, "settings": settings, "data": data_digest, "version": version}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def settings_fingerprint(command: str, settings: Mapping[str, str]) -> str:
    """Return 32 hex digits over what was typed that decides the result of a command."""
    return command_fingerprint(command, settings, "", "")
