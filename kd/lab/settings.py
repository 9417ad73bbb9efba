"""The settings of an experiment, known without torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from kd.distillation.defaults import ALPHA, MAX_TEMPERATURE
from kd.errors import UserError
from kd.lab.names import NetKind

LEAST: Mapping[str, int] = {
    **dict.fromkeys(("width", "teacher_width", "depth", "teacher_depth", "epochs", "teacher_epochs"), 1),
    "batch_size": 2,
    **dict.fromkeys(("views", "groups"), 0),
}
"""The least value of each whole number."""


@dataclass(frozen=True)
class Settings:
    """The settings of an experiment beside its images; the defaults fit the embedded digits.

    Raises:
        UserError: a value is out of bounds, or of another type.
    """

    net: NetKind = "mlp"
    """mlp: the paper's nets for MNIST, a regularised teacher that sees shifted images, and students that see them as they are;
    resnet, pooled: kd's own, all trained on augmented views."""
    width: int = 800
    """Units per layer, or channels of the first stage, of students."""
    teacher_width: int = 1200
    depth: int = 2
    """Hidden layers, or blocks per stage, of students."""
    teacher_depth: int = 2
    epochs: int = 60
    teacher_epochs: int = 100
    batch_size: int = 64
    lr: float = 0.05
    """Peak learning rate of students."""
    teacher_lr: float = 0.05
    temperature: float = 20.0
    """T of the soft targets; the paper's on MNIST."""
    alpha: float = ALPHA
    views: int = 1
    """Augmented views of each image that students see; those of an mlp see images as they are."""
    groups: int = 0
    """Groups of classes that have a specialist each; 0: as many as the root of the number of classes."""

    def __post_init__(self) -> None:
        self._check("net", get_args(NetKind).count(self.net) > 0, f"one of {', '.join(get_args(NetKind))}")
        for name, least in LEAST.items():
            value = getattr(self, name)
            self._check(name, isinstance(value, int) and value >= least, f"a whole number, {least} or more")
        for name, most in (("lr", math.inf), ("teacher_lr", math.inf), ("temperature", MAX_TEMPERATURE)):
            value = getattr(self, name)
            self._check(name, isinstance(value, int | float) and 0 < value <= most and value < math.inf, "a number above 0")
        self._check(
            "alpha", isinstance(self.alpha, int | float) and 0 <= self.alpha <= 1, "a weight of the soft targets from 0 to 1"
        )

    def _check(self, name: str, holds: bool, wanted: str) -> None:  # noqa: FBT001 - a condition
        if not holds:
            raise UserError(f"{getattr(self, name)!r}: expected {wanted}", field=name)
