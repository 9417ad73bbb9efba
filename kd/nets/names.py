"""The names of kd's own nets and their usual sizes, known without torch."""

from collections.abc import Mapping
from typing import Literal

NetName = Literal["resnet", "pooled"]
"""resnet: after He et al. (2015); pooled: each stage begins with pooling, which is quicker."""

ELSEWHERE = ("torchvision:NAME", "timm:NAME", "package.module:function", "path/to/file.py:function")
"""The forms of the names of other nets."""

LARGE: Mapping[str, int] = {"depth": 3, "width": 32}
"""Usual size of a teacher: residual blocks per stage, and channels of the first stage."""
SMALL: Mapping[str, int] = {"depth": 1, "width": 16}
"""Usual size of a student or a specialist."""
