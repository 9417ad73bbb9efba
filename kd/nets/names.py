"""The names of kd's own nets, known without torch."""

from typing import Literal

NetName = Literal["resnet", "pooled"]
"""resnet: after He et al. (2015); pooled: stages that begin with a pooling, quicker."""
