"""The experiments by name, known without torch."""

from collections.abc import Mapping
from typing import Literal, get_args

ExperimentName = Literal[
    "soft-targets",
    "temperature",
    "missing-class",
    "two-classes",
    "ensemble",
    "specialists",
    "small-data",
    "high-temperature",
    "controls",
    "losses",
    "choosing-on-test",
]

NAMES: tuple[ExperimentName, ...] = get_args(ExperimentName)

ALL = "all"

MODULES: Mapping[str, str] = {name: f"kd.lab.{name.replace('-', '_')}" for name in NAMES}
"""The file of each experiment."""

NetKind = Literal["mlp", "resnet", "pooled"]
