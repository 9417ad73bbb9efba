"""The settings of an experiment, known without torch."""

from dataclasses import dataclass

from kd.distillation.defaults import ALPHA
from kd.lab.names import NetKind


@dataclass(frozen=True)
class Settings:
    """The settings of an experiment beside its images; the defaults fit the embedded digits."""

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
