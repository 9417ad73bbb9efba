"""``kd teacher``: the generalist on all classes."""

from kd.commands.answer import Answer
from kd.commands.results import training_answer
from kd.config import TeacherConfig
from kd.distillation.tracker import carry_out, tracked_by
from kd.from_config import prepare, teacher_job, teacher_tracker


def teacher(config: TeacherConfig) -> Answer:
    """Train the generalist on all classes."""
    workspace = prepare("teacher", config)
    with tracked_by(teacher_tracker(config, workspace)):
        return training_answer(carry_out(teacher_job(config, workspace)))
