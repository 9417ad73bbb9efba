"""Kinds of fields that many configurations have, with their bounds."""

from typing import Annotated, TypeVar

from pydantic import Field

from kd.distillation.defaults import MAX_TEMPERATURE
from kd.nets.names import LARGEST

T = TypeVar("T")
Count = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Rate = Annotated[float, Field(gt=0, le=1e6)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(gt=0, le=MAX_TEMPERATURE, description="temperature T of the soft targets")]
Alpha = Annotated[Fraction, Field(description="weight of the soft term: alpha T^2 KL (or --loss) + (1 - alpha) CE")]
Share = Annotated[float, Field(gt=0, le=1)]
BatchSize = Annotated[int, Field(ge=2)]  # batch norm has no variance over one image
SWITCH = "decides no result"
Switch = Annotated[T, SWITCH]
"""A field that decides no result: a flag and a parameter of MLproject as every field is, but no MLflow param."""
MAX_SEEDS = 10_000

TEACHER_PREFIX = "teacher_"


Depth = Annotated[Count, Field(le=LARGEST["depth"], description="residual blocks per stage")]
Width = Annotated[Count, Field(le=LARGEST["width"], description="channels of the first stage")]
