"""The laboratory: the experiments of the paper, one file each, that return records of what came out."""

from typing import TYPE_CHECKING

from kd.lab.names import NAMES
from kd.machine.lazy import loader

if TYPE_CHECKING:
    from kd.lab.from_python import run
    from kd.lab.record import Record

__all__ = ["NAMES", "Record", "run"]

# Loaded when first used: the configuration imports ``kd.lab.names``, and must not wait for torch.
__getattr__ = loader(__name__, {"Record": "kd.lab.record", "run": "kd.lab.from_python"})
