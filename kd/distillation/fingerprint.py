"""The fingerprint of a training: one short text over all that decides its result."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import kd

_CODE = ("data", "distillation", "evaluation", "losses", "nets", "specialists", "training")
"""The folders on whose code a trained net depends: another version of it makes another fingerprint."""


def fingerprint(facts: Mapping[str, object]) -> str:
    """Return 32 hex digits over all that decides a training's result: the facts given, and the code that trains.

    Args:
        facts: names and values, such as the data set's digest, net, recipe and seed, in any order; JSON can hold them.
    """
    folder = Path(kd.__file__).parent
    code = hashlib.sha256()
    for name in _CODE:
        for module in sorted((folder / name).glob("*.py")):
            code.update(f"{name}/{module.name}\n".encode() + module.read_bytes())
    text = json.dumps({**facts, "code": code.hexdigest()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
