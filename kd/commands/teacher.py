"""``kd teacher``: the generalist on all classes."""

from kd.config import TeacherConfig
from kd.distillation.results import Trained
from kd.distillation.tracker import carry_out, tracked_by
from kd.from_config import prepare, teacher_job, teacher_tracker


def teacher(config: TeacherConfig) -> Trained:
    """Train the generalist on all classes."""
    workspace = prepare("teacher", config)
    with tracked_by(teacher_tracker(config, workspace)):
        return carry_out(teacher_job(config, workspace))
