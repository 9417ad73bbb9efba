"""``kd teacher``: the generalist on all classes."""

from kd.config import (
    TeacherConfig,
)
from kd.distillation.results import Trained
from kd.tracking.teachers import teacher_job
from kd.tracking.training import train
from kd.tracking.workspace import prepare


def teacher(config: TeacherConfig) -> Trained:
    """Train the generalist on all classes."""
    return train(teacher_job(config, prepare("teacher", config)))
